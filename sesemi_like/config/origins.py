"""Which file each value of a composed config comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from .search_path import initialized

COMMAND_LINE, BUILT_IN, DEFAULT = "command line", "built-in", "default"

_SOURCES = {"main": BUILT_IN, "sesemi_like": DEFAULT, "run.from_run": "the run's folder"}


@dataclass(frozen=True)
class Part:
    """One of the files that a config is composed of.

    Attributes:
        name: The config's name, such as ``optimizer/sgd``, or ``command line``.
        source: Its file; ``built-in`` for those of this package, ``default`` for the structs.
        content: Its values, by their keys in the composed config.
    """

    name: str
    source: str
    content: Mapping[str, Any]

    @property
    def where(self) -> str:
        """Its name and file, in a few words."""
        if self.source == COMMAND_LINE:
            return "the command line"
        return f"the built-in {self.name}" if self.source == BUILT_IN else self.source


def compose_parts(config_name: str, overrides: Sequence[str]) -> tuple[DictConfig, list[Part]]:
    """Composes a config with its overrides, and finds what it is composed of.

    Args:
        config_name: The primary config (`-cn`).
        overrides: The overrides of the command line.

    Returns:
        The config with Hydra's own section, and its parts, those that take precedence last.

    Raises:
        HydraException: If it cannot be composed; so do OmegaConf's and YAML's errors.
    """
    with initialized():
        config: DictConfig = compose(config_name, list(overrides), return_hydra_config=True)
        return config, _parts(config, config_name, overrides)


def _parts(config: DictConfig, config_name: str, overrides: Sequence[str]) -> list[Part]:
    """The files behind a config that Hydra has composed, then the command line."""
    loader = GlobalHydra.instance().config_loader()
    chosen = loader.compute_defaults_list(config_name, list(overrides), RunMode.RUN)
    sources = _sources(config)
    loaded = []
    for default in chosen.defaults:
        name = default.config_path
        source = None
        if name and not name.startswith("hydra/"):
            source = next((source for source in sources if source.is_config(name)), None)
        if source is not None:
            loaded.append(_part_of_file(source.load_config(name), name, default.package))
    typed = chosen.config_overrides
    return [*loaded, _part_of_command_line(typed)] if typed else loaded


def _sources(config: DictConfig) -> list[ConfigSource]:
    """The places that a config was composed from, those that `hydra.searchpath` adds included."""
    known = GlobalHydra.instance().config_loader().get_sources()
    kinds = {source.scheme(): type(source) for source in known}
    return [
        kinds[place.schema](place.provider, f"{place.schema}://{place.path}")
        for place in config.hydra.runtime.config_sources
    ]


def _part_of_file(loaded: ConfigResult, name: str, package: str | None) -> Part:
    content: Any = OmegaConf.to_container(loaded.config, throw_on_missing=False)
    content.pop("defaults", None)
    content.pop("hydra", None)
    return Part(name, _source(loaded, name), _nest(package, content))


def _part_of_command_line(overrides: Sequence[Override]) -> Part:
    typed: Any = OmegaConf.create()
    for override in overrides:
        if not override.is_delete() and not override.is_sweep_override():
            OmegaConf.update(typed, override.key_or_group, override.value(), force_add=True)
    typed.pop("hydra", None)
    content: Any = OmegaConf.to_container(typed, throw_on_missing=False)
    return Part(COMMAND_LINE, COMMAND_LINE, content)


def origins(parts: Sequence[Part]) -> dict[str, Part]:
    """The part that each value comes from, by its dotted key; a list counts as one value."""
    return {key: part for part in parts for key in leaves(part.content) if key}


def origin_if_older(key: str, target_key: str) -> str | None:
    """Where a key comes from that a later config kept when it changed the `_target_` beside it.

    Args:
        key: The dotted key of an argument that a target does not take.
        target_key: The dotted key of that `_target_`.

    Returns:
        A sentence fragment; None if the key is not older, or if no config is being run.
    """
    if not (HydraConfig.initialized() and GlobalHydra.instance().is_initialized()):
        return None
    hydra = HydraConfig.get()
    config = OmegaConf.create({"hydra": {"runtime": hydra.runtime}})
    parts = _parts(config, str(hydra.job.config_name), hydra.overrides.task)
    written, target = (_at_or_above(name, origins(parts)) for name in (key, target_key))
    if written is None or target is None or parts.index(written) >= parts.index(target):
        return None
    return f"from {written.where}; `_target_` is from {target.where}"


def _at_or_above(key: str, known: Mapping[str, Part]) -> Part | None:
    """The part that wrote a key, or a list that it is in, or else something below it."""
    while key:
        below = (part for name, part in known.items() if name.startswith(f"{key}."))
        part = known.get(key) or next(below, None)
        if part is not None:
            return part
        key = key.rpartition(".")[0]
    return None


def leaves(content: Any, key: str = "") -> Iterator[str]:
    """The dotted keys of all values of nested mappings; an empty mapping is a value."""
    if not isinstance(content, Mapping) or not content:
        yield key
        return
    for name, value in content.items():
        yield from leaves(value, f"{key}.{name}" if key else str(name))


def _source(loaded: ConfigResult, name: str) -> str:
    """A config's file, relative to where the command was called if below; else its provider."""
    if loaded.provider in _SOURCES or not loaded.path.startswith("file://"):
        return _SOURCES.get(loaded.provider) or str(loaded.provider)
    path = Path(loaded.path.removeprefix("file://")) / f"{name}.yaml"
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _nest(package: str | None, content: dict[str, Any]) -> dict[str, Any]:
    for name in reversed((package or "").split(".")):
        content = {name: content} if name else content
    return content
