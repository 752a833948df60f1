"""Names that come from files, folders and configs, made comparable: subsets, classes, splits."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from ...errors import ConfigError, ConfigProblem


def comparable(text: str) -> str:
    """A name as it is compared and shown: NFC, without spaces around it, and printable."""
    return (text if text.isascii() else unicodedata.normalize("NFC", printable(text))).strip()


def printable(text: str) -> str:
    r"""A file name that any file can hold: bytes that are no UTF-8 are escaped, as ``\udce9``."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def look_alikes(names: Iterable[str]) -> list[tuple[str, str]]:
    """The names that look like an earlier one and are another, each with that one.

    Case, widths, spaces and invisible characters are what the eye hardly sees.
    """
    seen: dict[str, str] = {}
    pairs = [(name, seen.setdefault(_looks(name), name)) for name in names]
    return [(name, first) for name, first in pairs if name != first]


def _looks(name: str) -> str:
    wide = unicodedata.normalize("NFKC", name).casefold()
    return "".join(c for c in wide if not c.isspace() and unicodedata.category(c) != "Cf")


def subset_names(subset: Any) -> list[str] | None:
    """The names that `subset` of a data set gives; a number is the name that it is written as.

    Args:
        subset: A name, a list of names, or None.

    Returns:
        The names; None means everything.

    Raises:
        ConfigError: If something else is given, or no name at all.
    """
    if subset is None:
        return None
    is_list = isinstance(subset, Sequence) and not isinstance(subset, str | bytes)
    names = list(subset) if is_list else [subset]
    wrong = [name for name in names if isinstance(name, bool) or not isinstance(name, str | int)]
    if wrong or not names:
        expected = "needs a name or a list of names, or null for everything"
        raise ConfigError([ConfigProblem("subset", subset, expected)])
    return [str(name) for name in names]
