"""Turns a failed composition into all of its problems, in the user's words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra import compose
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ..errors import ConfigProblem, near
from .check import typed_problems
from .search import config_files, search_path
from .store import register_configs


def composition_problems(
    error: Exception,
    config_name: str,
    config_dir: str | None,
    overrides: Sequence[str],
    *,
    is_sweep: bool = False,
) -> list[ConfigProblem]:
    """Finds everything that keeps a config from being composed.

    Composes once more without types, so that the mistakes behind the first one show as well, and
    compares what comes out with the structs.

    Args:
        error: What the typed composition raised; told as it is when nothing better is found.
        config_name: The primary config (`-cn`).
        config_dir: A further folder of configs (`-cd`), or None.
        overrides: The overrides of the command line.
        is_sweep: Whether they may hold several values each (`--multirun`).

    Returns:
        At least one problem.
    """
    register_configs(typed=False)
    try:
        runs = _single_runs(list(overrides)) if is_sweep else [list(overrides)]
        problems = [p for run in runs for p in _problems(config_name, config_dir, run)]
    finally:
        register_configs()
    return problems or [ConfigProblem(f"-cn {config_name}", _first_line(error), _details(error))]


def _single_runs(overrides: list[str]) -> list[list[str]]:
    """The overrides of single runs that try each value of a sweep once."""
    try:
        parsed = OverridesParser.create().parse_overrides(overrides)
    except OverrideParseException:
        return [overrides]
    choices = [_choices(override) for override in parsed]
    first = [values[0] for values in choices]
    others = [
        [*first[:place], value, *first[place + 1 :]]
        for place, values in enumerate(choices)
        for value in values[1:]
    ]
    return [first, *others]


def _choices(override: Override) -> list[str]:
    text = override.input_line or ""
    if not override.is_sweep_override():
        return [text]
    return [f"{text.partition('=')[0]}={value}" for value in override.sweep_string_iterator()]


def _problems(
    config_name: str, config_dir: str | None, overrides: list[str]
) -> Iterator[ConfigProblem]:
    while True:
        try:
            config = _compose(config_name, config_dir, overrides)
        except MissingConfigException as error:
            yield _missing_config(error, config_name, config_dir)
            wrong = [o for o in overrides if _is_choice_of(o, error.missing_cfg_file)]
        except OverrideParseException as error:
            override = error.override.removeprefix("++")
            yield ConfigProblem("command line", override, _first_line(error))
            wrong = [o for o in overrides if o.removeprefix("++") == override]
        except (HydraException, OmegaConfBaseException, YAMLError, AssertionError) as error:
            yield ConfigProblem(f"-cn {config_name}", _first_line(error), _details(error))
            wrong = []
        else:
            problems = list(typed_problems(config))
            yield from problems
            known = {problem.key for problem in problems}
            yield from _new_key_problems(config_name, config_dir, overrides, known)
            return
        if not wrong:
            return
        overrides = [o for o in overrides if o not in wrong]


def _compose(config_name: str, config_dir: str | None, overrides: list[str]) -> DictConfig:
    """Composes with every plain override forced, since nothing is known to be a key."""
    forced = [f"++{o}" if "." in o.split("=")[0] and o[0] not in "+~" else o for o in overrides]
    GlobalHydra.instance().clear()
    try:
        Hydra.create_main_hydra2("open_cli", search_path(config_dir))
        composed: DictConfig = compose(config_name, overrides=forced)
        return composed
    finally:
        GlobalHydra.instance().clear()


def _new_key_problems(
    config_name: str, config_dir: str | None, overrides: list[str], known: set[str]
) -> Iterator[ConfigProblem]:
    """Finds overrides of keys that the config does not have, where no struct says which it has."""
    plain = [o for o in overrides if "." in o.split("=")[0] and o[0] not in "+~"]
    config = _compose(config_name, config_dir, [o for o in overrides if o not in plain])
    for override in plain:
        key, _, value = override.partition("=")
        parent, _, name = key.rpartition(".")
        siblings = OmegaConf.select(config, parent, throw_on_missing=False)
        if key in known or (isinstance(siblings, DictConfig) and name in siblings):
            continue
        has = list(siblings) if isinstance(siblings, DictConfig) else []
        expected = f"no such key; {near(name, has, noun='keys')}; +{key} adds it"
        yield ConfigProblem(key, value, expected)


def _missing_config(
    error: MissingConfigException, config_name: str, config_dir: str | None
) -> ConfigProblem:
    name = str(error.missing_cfg_file)
    if name.removesuffix(".yaml") == config_name.removesuffix(".yaml"):
        known = near(config_name, config_files(config_dir), noun="configs")
        hint = _elsewhere(config_name, config_dir)
        return ConfigProblem("-cn", config_name, f"no such config; {hint}{known}")
    group, _, choice = name.rpartition("/")
    options = error.options or config_files(config_dir, group)
    noun = f"choices of {group}" if group else "configs"
    return ConfigProblem(
        group or "-cn", choice, f"no such config; {near(choice, options, noun=noun)}"
    )


def _elsewhere(config_name: str, config_dir: str | None) -> str:
    """Says how a file of that name is reached that lies where configs are not looked for."""
    folder, _, name = config_name.removesuffix(".yaml").rpartition("/")
    for place in [folder] if folder else ["configs", "."]:
        if place != config_dir and Path(place, f"{name}.yaml").is_file():
            return f"{place}/{name}.yaml is there: -cd {place} -cn {name} takes it; "
    return ""


def _is_choice_of(override: str, missing: str | None) -> bool:
    key, _, value = override.lstrip("+~").partition("=")
    return missing is not None and missing in (f"{key.split('@')[0]}/{value}", value)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _details(error: Exception) -> str:
    rest = " ".join(line.strip() for line in str(error).strip().splitlines()[1:])
    return rest or "see the file it names"
