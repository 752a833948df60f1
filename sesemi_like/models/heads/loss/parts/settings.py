"""Checks of the settings of parts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from .....errors import suggest

Kind = TypeVar("Kind")


def one_of(key: str, found: str, known: Iterable[str]) -> None:
    """Refuses a word that is none of a few.

    Args:
        key: The setting.
        found: What it is.
        known: What it may be.

    Raises:
        ValueError: If it is none of them.
    """
    known = list(known)
    if found not in known:
        raise ValueError(f"{key}: found {found!r}; {suggest(found, known, noun='it may be')}")


def of_kind(
    key: str, found: object, kind: type[Kind] | tuple[type[Kind], ...], expected: str
) -> Kind:
    """Returns what was given for a setting, and refuses a part of another kind.

    Args:
        key: The setting.
        found: What it is.
        kind: The class that it must be of, or several.
        expected: What would be right, in words.

    Raises:
        ValueError: If it is none of that class.
    """
    if not isinstance(found, kind):
        raise other_kind(key, found, expected)
    return found


def other_kind(key: str, found: object, expected: str) -> ValueError:
    """The error of a setting that is of another kind than it needs; arguments as above."""
    is_part = hasattr(found, "forward")
    shown = type(found).__name__ if is_part else repr(found)
    return ValueError(f"{key}: found {shown}; needs {expected}")
