"""Finds the class or function that a `_target_` names, or the part of its path that is wrong."""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

import hydra.utils
from hydra.errors import InstantiationException

from ..errors import ConfigError, ConfigProblem, suggest
from .old_names import name_here, names_since

_PATH = "needs the full path of a class or function that can be imported"


def locate(target: Any, key: str) -> partial[Any]:
    """Finds what a `_target_` names, by its name of today or an earlier one.

    Args:
        target: The dotted path of a class or function.
        key: The dotted key of the config that has it.

    Returns:
        A partial without arguments, by Hydra, which refuses targets, and calls of targets, by which
        a config could run any code.

    Raises:
        ConfigError: If it is no path, nothing callable is there, or Hydra refuses it.
    """
    reasons = []
    for name in names_since(target) if isinstance(target, str) else ():
        try:
            found: partial[Any] = hydra.utils.instantiate({"_target_": name, "_partial_": True})
        except InstantiationException as error:
            reasons.append(error)
        else:
            return found
    expected = _missing_part(target) if isinstance(target, str) else _PATH
    expected = expected or f"cannot be built from a config: {' '.join(str(reasons[0]).split())}"
    raise ConfigError([ConfigProblem(f"{key}._target_", target, expected)]) from next(
        iter(reasons), None
    )


def _missing_part(target: str) -> str | None:
    """Names the part of a path that does not exist, and similar names; None if the path exists."""
    parts = target.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        try:
            module: Any = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name and not name.startswith(error.name):
                return f"importing {name} failed: no module named {error.name!r}"
            continue
        except Exception as error:
            return f"importing {name} failed: {error}"
        return _missing_attribute(module, name, parts[length:])
    if parts[0] == "sesemi":
        return name_here(target)
    return f"there is no module {parts[0]!r}; {_PATH}"


def _missing_attribute(owner: Any, name: str, parts: list[str]) -> str | None:
    for part in parts:
        if not hasattr(owner, part):
            known = [attribute for attribute in dir(owner) if not attribute.startswith("_")]
            return f"{name} has no {part!r}; {suggest(part, known, noun='it has')}"
        owner, name = getattr(owner, part), f"{name}.{part}"
    return None
