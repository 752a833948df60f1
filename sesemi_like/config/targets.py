"""What a config's `_target_`s name, as far as it can be reported before anything is imported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..errors import ConfigProblem
from .old_names import name_here

_OTHER_LIGHTNING = "lightning.pytorch."


def target_problems(config: DictConfig) -> Iterator[ConfigProblem]:
    """Names each target that is no path, and each that SESEMI had under a name of its own.

    Args:
        config: A composed config.
    """
    is_installed = find_spec("sesemi") is not None
    for key, target in _targets(OmegaConf.to_container(config, resolve=False), ""):
        if not isinstance(target, str):
            expected = "needs the full path of a class or function"
            yield ConfigProblem(key, target, expected)
        elif target.startswith("sesemi.") and not is_installed:
            yield ConfigProblem(key, target, name_here(target))
        elif target.startswith(_OTHER_LIGHTNING):
            yield ConfigProblem(key, target, _other_lightning(target))


def foreign_problem(kind: type) -> str | None:
    """What is wrong with a class that is built on the other package of Lightning; None if nothing.

    Args:
        kind: The class of an object in the section `trainer`.
    """
    bases = (f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__)
    other = next((base for base in bases if base.startswith(_OTHER_LIGHTNING)), None)
    return None if other is None else _other_lightning(other)


def _other_lightning(target: str) -> str:
    here = target.replace(_OTHER_LIGHTNING, "pytorch_lightning.", 1)
    return (
        "is of the package lightning, whose classes a Trainer of pytorch_lightning does not take; "
        f"here it is {here}"
    )


def _targets(content: Any, key: str) -> Iterator[tuple[str, Any]]:
    entries: Iterable[tuple[Any, Any]]
    if isinstance(content, Mapping):
        entries = content.items()
    elif isinstance(content, Sequence) and not isinstance(content, str):
        entries = enumerate(content)
    else:
        return
    for name, value in entries:
        path = f"{key}.{name}" if key else str(name)
        if name == "_target_":
            yield path, value
        else:
            yield from _targets(value, path)
