"""Turns a failed composition into all of its problems."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ..errors import ConfigError, ConfigProblem, suggest
from .check import typed_problems
from .mode import Modes, mode_problems
from .overrides import forced_override, override_problems, split_overrides
from .own_code import own_code
from .search_path import compose_config, config_files, covered_configs, is_group, own_configs
from .store import register_configs
from .targets import target_problems


def composition_problems(
    error: Exception,
    config_name: str,
    config_dir: str | None,
    overrides: Sequence[str],
    modes: Modes,
    *,
    is_sweep: bool = False,
) -> list[ConfigProblem]:
    """Finds everything that keeps a config from being composed.

    Composes once more without types, so that the mistakes behind the first one show as well, and
    compares the result with the structs.

    Args:
        error: What the typed composition raised; reported when no better reason is found.
        config_name: The primary config (`-cn`).
        config_dir: A further folder of configs (`-cd`), or None.
        overrides: The overrides of the command line.
        modes: What `run.mode` may name.
        is_sweep: Whether they may hold several values each (`--multirun`).

    Returns:
        At least one problem.
    """
    runs = _single_runs(list(overrides)) if is_sweep else [list(overrides)]
    try:
        with own_configs(config_dir), own_code(config_dir):
            problems = [p for run in runs for p in _problems(config_name, config_dir, run, modes)]
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
    config_name: str, config_dir: str | None, overrides: list[str], modes: Modes
) -> Iterator[ConfigProblem]:
    """Composes without types, leaving out one wrong override after the other."""
    while True:
        try:
            register_configs(typed=False)
            choices, values = split_overrides(overrides, is_group)
            forced = [forced_override(value) for value in values if not value.is_delete()]
            config = compose_config(config_name, [*choices, *forced])
        except MissingConfigException as error:
            yield _missing_config_problem(error, config_name, config_dir)
            wrong = [o for o in overrides if _is_choice_of(o, error.missing_cfg_file)]
        except OverrideParseException as error:
            override = error.override.removeprefix("++")
            expected = _override_hint(override, error, config_dir)
            yield ConfigProblem("command line", override, expected)
            wrong = [o for o in overrides if o.removeprefix("++") == override]
        except ConfigError as error:
            yield from error.problems
            keys = {problem.key for problem in error.problems}
            wrong = [o for o in overrides if o.partition("=")[0] in keys]
        except UnicodeDecodeError as error:
            yield _encoding_problem(config_dir, error)
            return
        except RecursionError:
            yield _circular_defaults_problem(config_name, config_dir)
            return
        except (HydraException, OmegaConfBaseException, YAMLError, AssertionError) as error:
            yield ConfigProblem(f"-cn {config_name}", _first_line(error), _details(error))
            return
        else:
            problems = [
                *typed_problems(config),
                *mode_problems(config, modes),
                *target_problems(config),
            ]
            yield from problems
            known = {problem.key for problem in problems}
            base = _without_values(config_name, choices)
            yield from override_problems(base, values, known)
            return
        if not wrong:
            return
        overrides = [o for o in overrides if o not in wrong]


def _without_values(config_name: str, choices: list[str]) -> DictConfig:
    """The config of the files alone; with its types, if there are no mistakes in them."""
    try:
        register_configs(typed=True)
        return compose_config(config_name, choices)
    except (HydraException, OmegaConfBaseException):
        register_configs(typed=False)
        return compose_config(config_name, choices)


def _missing_config_problem(
    error: MissingConfigException, config_name: str, config_dir: str | None
) -> ConfigProblem:
    name = str(error.missing_cfg_file)
    if name.removesuffix(".yaml") == config_name.removesuffix(".yaml"):
        known = suggest(config_name, config_files(config_dir), noun="configs")
        hint = _location_hint(config_name, config_dir)
        return ConfigProblem("-cn", config_name, f"no such config; {hint}{known}")
    group, _, choice = name.rpartition("/")
    # Of a group within a group the error lists the choices of the outer one.
    listed = [] if "/" in group else error.options
    options = listed or config_files(config_dir, group)
    noun = f"choices of {group}" if group else "configs"
    return ConfigProblem(
        group or "-cn", choice, f"no such config; {suggest(choice, options, noun=noun)}"
    )


def _location_hint(config_name: str, config_dir: str | None) -> str:
    """How to reach a file of that name outside the search path; empty if there is none."""
    folder, _, name = config_name.removesuffix(".yaml").rpartition("/")
    for place in [folder] if folder else ["configs", "."]:
        if place != config_dir and Path(place, f"{name}.yaml").is_file():
            return f"{place}/{name}.yaml is there: -cd {place} -cn {name} takes it; "
    return ""


def _encoding_problem(config_dir: str | None, error: UnicodeDecodeError) -> ConfigProblem:
    """Names the file of a person's own folder that is not UTF-8."""
    for path in sorted(Path(config_dir or ".").rglob("*.yaml")):
        try:
            path.read_text(encoding="utf-8")
        except UnicodeDecodeError as reason:
            wrong = reason.object[reason.start : reason.end]
            return ConfigProblem(str(path), wrong, "is not UTF-8")
        except OSError:
            continue
    return ConfigProblem("-cd", config_dir, str(error))


def _circular_defaults_problem(config_name: str, config_dir: str | None) -> ConfigProblem:
    """Names the file that starts from the built-in config that it replaces."""
    for name in covered_configs(config_dir):
        file = Path(str(config_dir), f"{name}.yaml")
        content: Any = OmegaConf.load(file)
        if re.search(rf"\b{Path(name).name}\b", str(content.get("defaults"))):
            expected = "it takes the place of the built-in one, and cannot start from it as well"
            return ConfigProblem(str(file), f"defaults: [{name}]", f"{expected}; rename the file")
    return ConfigProblem(f"-cn {config_name}", "defaults in a circle", "break it in one of them")


def _is_choice_of(override: str, missing: str | None) -> bool:
    key, _, value = override.lstrip("+~").partition("=")
    return missing is not None and missing in (f"{key.split('@')[0]}/{value}", value)


def _override_hint(override: str, error: Exception, config_dir: str | None) -> str:
    if override in config_files(config_dir):
        return f"-cn {override} takes the config of that name"
    if "=" not in override:
        return "needs key=value, group=choice or ~key"
    lines = [line for line in str(error).splitlines() if line and "override" not in line]
    return lines[0] if lines else _first_line(error)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _details(error: Exception) -> str:
    if "Cannot merge" in str(error) and "ListConfig" in str(error):
        return (
            "one config has a list where another has a mapping by name, as callbacks and loggers "
            "may be; write yours as the other does"
        )
    if any(words in str(error) for words in ("appears more than once", "Multiple values for")):
        return "a group that is chosen already is chosen anew without +"
    rest = " ".join(line.strip() for line in str(error).strip().splitlines()[1:])
    default = "see the file it names" if ".yaml" in str(error) else "it cannot be composed"
    return rest or default
