"""Which file each value of a composed config comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.types import RunMode
from omegaconf import OmegaConf

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


def parts(loader: ConfigLoaderImpl, config_name: str, overrides: Sequence[str]) -> list[Part]:
    """The files behind a config and the command line, those that win last.

    Args:
        loader: Hydra's loader of configs, with its search path.
        config_name: The primary config.
        overrides: The overrides of the command line.
    """
    chosen = loader.compute_defaults_list(config_name, list(overrides), RunMode.RUN)
    found = []
    for default in chosen.defaults:
        loaded = None
        if default.config_path and not default.config_path.startswith("hydra/"):
            loaded = loader.repository.load_config(default.config_path)
        if loaded is None:
            continue
        content: Any = OmegaConf.to_container(loaded.config, throw_on_missing=False)
        content.pop("defaults", None)
        content.pop("hydra", None)
        source = _SOURCES.get(loaded.provider) or _file(loaded.path, default.config_path)
        found.append(Part(default.config_path, source, _under(default.package, content)))
    typed: Any = OmegaConf.create()
    for override in chosen.config_overrides:
        if not override.is_delete() and not override.is_sweep_override():
            OmegaConf.update(typed, override.key_or_group, override.value(), force_add=True)
    if chosen.config_overrides:
        typed.pop("hydra", None)
        content = OmegaConf.to_container(typed, throw_on_missing=False)
        found.append(Part(COMMAND_LINE, COMMAND_LINE, content))
    return found


def origins(found: Sequence[Part]) -> dict[str, Part]:
    """The part that each value comes from, by its dotted key; a list counts as one value."""
    return {key: part for part in found for key in leaves(part.content) if key}


def leaves(content: Any, key: str = "") -> Iterator[str]:
    """The dotted keys of all values of nested mappings; an empty mapping is a value."""
    if not isinstance(content, Mapping) or not content:
        yield key
        return
    for name, value in content.items():
        yield from leaves(value, f"{key}.{name}" if key else str(name))


def _file(folder: str, name: str) -> str:
    """The path of a config's file, relative to where the command was called if it is below."""
    path = Path(folder.removeprefix("file://")) / f"{name}.yaml"
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _under(package: str | None, content: dict[str, Any]) -> dict[str, Any]:
    for name in reversed((package or "").split(".")):
        content = {name: content} if name else content
    return content
