"""Checks of the settings of parts."""

from __future__ import annotations

from collections.abc import Iterable

from .....errors import suggest


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
