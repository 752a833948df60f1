"""Overrides of the command line: applied also below keys that are null, reported when wrong."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from ..compat.hydra import apply_as_hydra, apply_overrides_with, is_null_mapping
from ..errors import ConfigError, ConfigProblem, suggest
from .keys import field_behind
from .structs import RunConfig


def reach_below_nulls() -> None:
    """Has Hydra apply overrides as :func:`apply` does."""
    apply_overrides_with(apply)


def apply(overrides: Sequence[Override], config: DictConfig) -> None:
    """Changes a composed config by overrides, one after the other.

    OmegaConf refuses mappings for a key that is typed and null or new, and all keys below it. Here
    such a key first becomes what an empty mapping in a file would make of it: a struct with its
    defaults, or a mapping without keys. A list takes the place of a mapping, and the other way
    round, as for the callbacks of a Trainer, which may be either.

    Args:
        overrides: Overrides of keys, not choices of groups.
        config: The config, changed in place.

    Raises:
        ConfigCompositionException: If an override does not fit the config.
    """
    for override in overrides:
        if override.is_delete() or override.is_hydra_override():
            apply_as_hydra([override], config)
            continue
        parent, _, name = override.key_or_group.rpartition(".")
        adds = override.is_add() or override.is_force_add()
        owner, is_new = _reach_mapping(config, parent, adds=adds)
        is_mapping = isinstance(override.value(), dict)
        if (is_mapping and _lacks_mapping(owner, name, adds=adds)) or (adds and is_new):
            _merge(owner, name, override.value())
        elif _is_of_another_kind(owner, name, override.value()):
            _replace(owner, name, override.value())
        else:
            apply_as_hydra([override], config)


def split_overrides(
    overrides: Sequence[str], is_group: Callable[[str], bool]
) -> tuple[list[str], list[Override]]:
    """Separates the choices of groups, as texts, from the values that keys are given.

    Args:
        overrides: The overrides of the command line.
        is_group: Whether there are configs to choose from under a name.

    Raises:
        OverrideParseException: If one cannot be read.
        ConfigError: If one has several values, or a group is to have none.
    """
    choices, values = [], []
    for text in overrides:
        [override] = OverridesParser.create().parse_overrides([text])
        key, is_mapping = override.key_or_group, isinstance(override.value(), dict)
        if override.is_sweep_override():
            raise ConfigError([_sweep_problem(override)])
        if override.is_hydra_override() or (not is_mapping and is_group(key)):
            if override.value() is None and not override.is_delete():
                raise ConfigError([_no_choice_problem(override)])
            choices.append(text)
        else:
            values.append(override)
    return choices, values


def _sweep_problem(override: Override) -> ConfigProblem:
    value = str(override.input_line).partition("=")[2]
    expected = f"several values need --multirun; a list is written [{value}]"
    return ConfigProblem(override.key_or_group, value, expected)


def _no_choice_problem(override: Override) -> ConfigProblem:
    group = override.key_or_group
    return ConfigProblem(group, None, f"needs the name of a choice; ~{group} takes none")


def forced_override(override: Override) -> str:
    """The text that gives a key its value whether there is such a key or not."""
    return f"++{str(override.input_line).lstrip('+')}"


def override_problems(
    config: DictConfig, overrides: Sequence[Override], known: Collection[str]
) -> Iterator[ConfigProblem]:
    """Applies overrides one by one and reports those that do not fit.

    Args:
        config: What the files are composed to, with its types where they have no mistakes.
        overrides: Overrides of keys.
        known: Keys that are reported already.
    """
    is_typed = OmegaConf.get_type(config, "run") is RunConfig
    for override in overrides:
        try:
            apply([override], config)
        except (HydraException, OmegaConfBaseException, AssertionError) as error:
            key = override.key_or_group
            if key in known or any(reported.startswith(f"{key}.") for reported in known):
                continue
            if is_typed or not field_behind(key, config):
                yield _problem(config, override, error)


def _problem(config: DictConfig, override: Override, error: Exception) -> ConfigProblem:
    key, (text, _, value) = override.key_or_group, str(override.input_line).partition("=")
    parent, _, name = key.rpartition(".")
    owner = OmegaConf.select(config, parent, throw_on_missing=False) if parent else config
    has = list(owner) if isinstance(owner, DictConfig) else []
    if override.is_delete() and name in has:
        return ConfigProblem(key, text, f"a key that is always there; {key}=null empties it")
    if name not in has:
        adds = "" if override.is_delete() else f"; +{key} adds it"
        expected = f"no such key; {suggest(name, has, noun='keys')}{adds}"
        return ConfigProblem(key, value or text, expected)
    if override.is_add():
        return ConfigProblem(key, text, f"the key is there already; {key}={value} changes it")
    return ConfigProblem(key, value, str(error).strip().splitlines()[0])


def _reach_mapping(config: DictConfig, key: str, *, adds: bool) -> tuple[Any, bool]:
    """The node at a key, and whether an empty mapping was put there or on the way to it."""
    node: Any = config
    is_new = False
    for name in filter(None, key.split(".")):
        if _lacks_mapping(node, name, adds=adds):
            _merge(node, name, {})
            is_new = True
        if not isinstance(node, DictConfig) or OmegaConf.is_missing(node, name):
            return None, False
        node = node.get(name)
    return node, is_new


def _lacks_mapping(node: Any, name: str, *, adds: bool) -> bool:
    """Whether a mapping at this key is null, or is not there and to be added."""
    if not isinstance(node, DictConfig) or name not in node:
        return isinstance(node, DictConfig) and adds
    return is_null_mapping(node, name)


def _is_of_another_kind(node: Any, name: str, value: Any) -> bool:
    """Whether a list is to stand where a mapping does, or the other way round."""
    if not isinstance(node, DictConfig) or name not in node or OmegaConf.is_missing(node, name):
        return False
    current = node.get(name)
    if isinstance(value, dict):
        return isinstance(current, ListConfig)
    return isinstance(value, list) and isinstance(current, DictConfig)


def _replace(node: DictConfig, name: str, value: Any) -> None:
    try:
        OmegaConf.update(node, name, value, merge=False)
    except OmegaConfBaseException as error:
        raise ConfigCompositionException(f"Could not override {name!r}") from error


def _merge(node: DictConfig, name: str, value: Any) -> None:
    try:
        with flag_override(node, "struct", False):
            node.merge_with({name: value})
    except OmegaConfBaseException as error:
        raise ConfigCompositionException(f"Could not override {name!r}") from error
