"""What `open_cli` shows without running anything: first steps, `-h`, `--info` and `--cfg`."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from ..config.components import library_choices
from ..config.learners import LEARNERS
from ..config.origins import COMMAND_LINE, DEFAULT, Part, compose_parts, leaves, origins
from ..config.search_path import (
    compose_config,
    config_files,
    covered_configs,
    groups,
    opening_sentence,
)
from ..errors import ConfigError, ConfigProblem
from ..run.modes import MODES
from .arguments import build_parser

_TITLE = "open_cli trains image classifiers from few labels and plenty of unlabeled images."

FIRST_STEPS = f"""{_TITLE}

Start with

  open_cli -cn quickstart                      train on forty labeled digits, half a minute
  open_cli -cn quickstart method=supervised    the baseline: the forty labels alone
  open_cli -h                                  all configs, those for your own images too

--info in place of running shows a config, and which file each value comes from."""

_COMMENT_COLUMN = 64


def help_text(config_name: str, config_dir: str | None, overrides: list[str]) -> str:
    """What `-h` prints: how to call the command, what there is to choose, and the keys.

    Args:
        config_name: The config whose keys are shown.
        config_dir: A person's own folder of configs, or None.
        overrides: The overrides of the command line.
    """
    config = compose_config(config_name, overrides)
    configs = {name: opening_sentence(path) for name, path in config_files(config_dir).items()}
    choices = {name: ", ".join(names) for name, names in groups(config_dir).items()}
    learners = ", ".join(entry.name for entry in LEARNERS.values())
    usage, _, options = build_parser().format_help().rstrip().partition("\n\n")
    sections = [
        f"{_TITLE}\n\n{usage}",
        "Configs, open_cli -cn NAME:\n\n" + _list(configs),
        "Groups, group=choice:\n\n" + _list({**choices, "learner": learners}),
        "Classes of torch and Lightning, group=Class, or group@KEY=Class to place one at a key:\n\n"
        + _list({name: ", ".join(names) for name, names in library_choices().items()}),
        "Modes, run.mode=NAME:\n\n" + _list({m.name: m.summary for m in MODES.values()}),
        options.replace("options", "Options", 1),
        "Keys, key=value; +key=value adds one that is not there, ~key removes one.\n"
        f"Those of `{config_name}`:\n\n{OmegaConf.to_yaml(config).rstrip()}",
        "Powered by Hydra (https://hydra.cc); open_cli --hydra-help has more.",
    ]
    return "\n\n".join(sections)


def info_text(config_name: str, config_dir: str | None, overrides: list[str]) -> str:
    """What `--info` prints: the files of a config, then its values, each with its file.

    Args:
        config_name: The config that is shown.
        config_dir: A person's own folder of configs, or None.
        overrides: The overrides of the command line.
    """
    config, parts = compose_parts(config_name, overrides)
    parts = [part for part in parts if part.content]
    content: Any = OmegaConf.to_container(config, resolve=False, enum_to_str=True)
    content.pop("hydra")
    title = f"# The config `{config_name}` is composed of these; later ones take precedence."
    lines = [title, *_sources(parts, overrides), *_covered_lines(config_dir), ""]
    return "\n".join([*lines, *_annotate(content, origins(parts))])


def config_text(
    config_name: str, overrides: list[str], sections: str, package: str | None, resolve: bool
) -> str:
    """What `--cfg` prints: a config as YAML.

    Args:
        config_name: The config that is shown.
        overrides: The overrides of the command line.
        sections: ``job`` leaves out Hydra's own section, ``hydra`` all others, ``all`` none.
        package: Shows only what is below this key; None shows everything.
        resolve: Whether values stand in place of ``${...}``.

    Raises:
        ConfigError: If there is no such key.
    """
    config = compose_config(config_name, overrides, with_hydra=True)
    HydraConfig.instance().set_config(config)  # which ${hydra:...} refers to
    OmegaConf.set_readonly(config.hydra, False)
    own = [section for section in map(str, config) if section != "hydra"]
    left_out = {"all": [], "job": ["hydra"], "hydra": [*own, "hydra.help", "hydra.hydra_help"]}
    with open_dict(config), open_dict(config.hydra):
        for key in left_out[sections]:
            parent, _, name = key.rpartition(".")
            del (config[parent] if parent else config)[name]
    shown = OmegaConf.select(config, package) if package else config
    if shown is None:
        raise ConfigError([ConfigProblem("--package", package, "the config has no such key")])
    if not isinstance(shown, DictConfig | ListConfig):
        return str(shown)
    if resolve:
        OmegaConf.resolve(shown)
    heading = f"# @package {package}\n" if package else ""
    return heading + OmegaConf.to_yaml(shown).rstrip()


def _list(entries: Mapping[str, str]) -> str:
    """Names beside what they are, wrapped to the terminal's width."""
    width, column = shutil.get_terminal_size().columns, max(map(len, entries)) + 4
    rows = []
    for name, text in entries.items():
        start, rest = f"  {name + ':':<{column - 2}}", " " * column
        wrapped = textwrap.fill(text, max(width, 60), initial_indent=start, subsequent_indent=rest)
        rows.append(wrapped.rstrip() or start)
    return "\n".join(rows)


def _sources(parts: Sequence[Part], overrides: Sequence[str]) -> Iterator[str]:
    width = max(len(part.name) for part in parts)
    for part in parts:
        source = " ".join(overrides) if part.name == COMMAND_LINE else part.source
        yield f"#   {part.name:<{width}}  {source}"


def _covered_lines(config_dir: str | None) -> Iterator[str]:
    names = ", ".join(covered_configs(config_dir))
    if names:
        yield f"# {config_dir} has files of its own in place of the built-in {names}"


def _annotate(content: Mapping[str, Any], known: Mapping[str, Part]) -> Iterator[str]:
    """YAML whose values name, in comments, the config they come from; defaults name none."""
    for line, origin in _lines(content, known, ""):
        yield f"{line:<{_COMMENT_COLUMN}}# {origin}" if origin else line


def _lines(
    content: Mapping[str, Any], known: Mapping[str, Part], parent: str
) -> Iterator[tuple[str, str | None]]:
    """Each line with its origin, given once for a mapping all of one origin."""
    for name, value in content.items():
        key = f"{parent}.{name}" if parent else str(name)
        inside = {_origin(leaf, known) for leaf in leaves(value, key)}
        origin = inside.pop() if len(inside) == 1 else None
        if isinstance(value, Mapping) and value:
            yield f"{name}:", origin
            deeper = _lines(value, {} if origin else known, key)
            yield from ((f"  {line}", source) for line, source in deeper)
        else:
            first, *rest = OmegaConf.to_yaml(OmegaConf.create({name: value})).splitlines()
            yield from [(first, origin), *((line, None) for line in rest)]


def _origin(key: str, known: Mapping[str, Part]) -> str | None:
    part = known.get(key)
    return part.name if part and part.source != DEFAULT else None
