"""`run.from_run`: the config and the weights of an earlier run, as a command line changes them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ..errors import ConfigError, ConfigProblem
from .learners import learner_entry
from .mode import Modes
from .run_folder import last_checkpoint, stage_folders, weights_file
from .store import PRIMARY_CONFIG, builtin_configs
from .structs import RunConfig

KEY = "run.from_run"
FROM_RUN = "from_run"
"""The name under which the config of a run's folder is composed."""

COMPOSED = "composed.yaml"
"""The file of a run's folder with its config as it was composed, ``${...}`` left open."""

_CHOSEN = "chosen"
"""The key of that file with the primary config and the choices of groups; no part of the config."""

_WEIGHTS = ("run.resume_from_checkpoint", "run.pretrained_checkpoint_path")

_PLACES = {
    "data": "data",
    "backbone": "learner.hparams.model.backbone",
    "optimizer": "learner.hparams.optimizer",
    "lr_scheduler": "learner.hparams.lr_scheduler",
    "evaluation": "run.evaluators",
}
"""What the choice of a group replaces; a method's file replaces the heads by itself."""


def composed_text(config: DictConfig, *, seed: int, chosen: Mapping[str, Any] | None = None) -> str:
    """What a run's folder keeps for later runs: YAML with a defaults list.

    Args:
        config: The composed config.
        seed: The run's seed.
        chosen: What :func:`earlier_choices` returns later: `config` and `groups`.
    """
    content: Any = OmegaConf.to_container(config, resolve=False, enum_to_str=True)
    content["run"] |= {"seed": seed, "from_run": None}
    learner = learner_entry(config)
    choice = [{"learner": learner.name}] if learner else []
    defaults = ["app_config", *choice, "_self_", *_open_groups()]
    return (
        "# What this run was composed of, ${...} left open. It is run again, with changes, by\n"
        f"#     open_cli {KEY}=<this folder> key=value\n"
        + OmegaConf.to_yaml(
            OmegaConf.create({_CHOSEN: dict(chosen or {}), "defaults": defaults, **content})
        )
    )


def earlier_choices(overrides: Sequence[str]) -> tuple[str | None, dict[str, str]]:
    """What the run that a command line continues was composed of.

    Args:
        overrides: The overrides of the command line, `run.from_run` among them.

    Returns:
        Its primary config and its choices of groups; None and nothing where its folder, made by an
        older version, lacks them.
    """
    folder = _overrides_by_key(overrides)[KEY].value()
    chosen = _content(str(folder)).get(_CHOSEN) or {}
    return chosen.get("config"), dict(chosen.get("groups", {}))


def register_earlier_run(config_name: str, overrides: Sequence[str], modes: Modes) -> str:
    """Registers the config of the run that a command line continues, if it names one, with Hydra.

    Unless the command line names other weights, they are the run's own: a mode that trains
    resumes from its last checkpoint; the others load its best one, or the last where none is the
    best.

    Args:
        config_name: The primary config (`-cn`).
        overrides: The overrides of the command line.
        modes: What `run.mode` may name.

    Returns:
        The primary config to compose.

    Raises:
        ConfigError: If there is no such run, `-cn` names another config, or the checkpoint that is
            to be taken is not there.
    """
    given = _overrides_by_key(overrides)
    folder = given[KEY].value() if KEY in given else None
    if folder is None:
        return config_name
    if config_name != PRIMARY_CONFIG:
        expected = f"{KEY} has a config of its own; leave one of the two out"
        raise ConfigError([ConfigProblem("-cn", config_name, expected)])
    content = _content(str(folder))
    content.pop(_CHOSEN, None)
    run = content["run"]
    run |= dict.fromkeys((key.removeprefix("run.") for key in (*_WEIGHTS, "run.resume")), None)
    if not set(_WEIGHTS) & set(given):
        key, path = _weights(Path(str(folder)), trains=_trains(given, run, modes))
        run[key] = str(path)
    for group in set(_PLACES) & set(given):
        _drop(content, _PLACES[group].split("."))
    ConfigStore.instance().store(name=FROM_RUN, node=OmegaConf.create(content), provider=KEY)
    return FROM_RUN


def refuse_in_file(config: DictConfig, config_name: str) -> None:
    """Refuses `run.from_run` in a config file, where it would do nothing.

    Args:
        config: A composed config.
        config_name: What it was composed from.

    Raises:
        ConfigError: If it is given there.
    """
    if config.run.get("from_run") is not None and config_name != FROM_RUN:
        expected = "works on the command line alone, not in a config file"
        raise ConfigError([ConfigProblem(KEY, config.run.from_run, expected)])


def _overrides_by_key(overrides: Sequence[str]) -> dict[str, Override]:
    """The overrides by key; those that cannot be read are reported when the config is composed."""
    try:
        found = OverridesParser.create().parse_overrides(list(overrides))
    except OverrideParseException:
        return {}
    return {override.key_or_group: override for override in found}


def _trains(given: Mapping[str, Override], run: Mapping[str, Any], modes: Modes) -> bool:
    """Whether the run trains; of a sweep over modes, whether one of its runs does."""
    override = given.get("run.mode")
    name = run.get("mode", RunConfig.mode) if override is None else override.input_line
    return any(modes[word].trains for word in re.findall(r"\w+", str(name)) if word in modes)


def _content(folder: str) -> dict[str, Any]:
    """The config of a run's folder as plain values; of older runs, with every value resolved."""
    found = [Path(folder) / name for name in (COMPOSED, "config.yaml")]
    path = next((path for path in found if path.is_file()), None)
    if path is None:
        expected = "is no run's folder, which has a config.yaml: <run.dir>/<run.id>/<time>"
        raise ConfigError([ConfigProblem(KEY, folder, expected)])
    try:
        config = OmegaConf.load(path)
        content: Any = OmegaConf.to_container(config, resolve=False)
        is_whole = isinstance(content, dict) and isinstance(content.get("run"), dict)
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException):
        is_whole = False
    if not is_whole:
        raise ConfigError([ConfigProblem(KEY, folder, f"its {path.name} is no config of a run")])
    if "defaults" not in content:
        content["defaults"] = ["app_config", {"learner": "classifier"}, "_self_", *_open_groups()]
    return dict(content)


def _weights(folder: Path, *, trains: bool) -> tuple[str, Path]:
    """The key that names the weights of a run, and its checkpoint."""
    last = last_checkpoint(folder)
    if trains:
        key, path = "resume_from_checkpoint", last
    else:
        key, path = "pretrained_checkpoint_path", last
        with suppress(ValueError):
            path = weights_file(folder)
    if not path.is_file():
        expected = f"has no {last.relative_to(folder)}; give run.{key}, or null for none"
        if stage_folders(folder):
            expected = "is a run of stages; give the folder of one of them, or run.resume=auto"
        raise ConfigError([ConfigProblem(KEY, str(folder), expected)])
    return key, path


def _drop(content: dict[str, Any], place: Sequence[str]) -> None:
    *parents, name = place
    node: Any = content
    for parent in parents:
        node = node.get(parent) if isinstance(node, dict) else None
    if isinstance(node, dict):
        node.pop(name, None)


def _open_groups() -> list[dict[str, None]]:
    """The groups that are empty until they are chosen, as `sesemi_config` has them."""
    bare: Any = OmegaConf.to_container(OmegaConf.load(builtin_configs() / f"{PRIMARY_CONFIG}.yaml"))
    return [e for e in bare["defaults"] if isinstance(e, dict) and None in e.values()]
