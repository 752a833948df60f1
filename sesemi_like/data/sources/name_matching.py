"""Names from files, folders and configs in a comparable form: subsets, classes, splits."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from ...errors import ConfigError, ConfigProblem


def comparable(text: str) -> str:
    """Normalizes a name for comparison and display: NFC, without surrounding spaces, printable.

    Args:
        text: The name.
    """
    return (text if text.isascii() else unicodedata.normalize("NFC", printable(text))).strip()


def printable(text: str) -> str:
    r"""Escapes the bytes of a file name that are not UTF-8, as in ``\udce9``.

    Args:
        text: The file name, as Python decodes it.
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def look_alikes(names: Iterable[str]) -> list[tuple[str, str]]:
    """Finds names that look like an earlier one without being equal to it.

    Names that differ only in case, width, spaces or invisible characters look alike.

    Returns:
        Each such name, and the first one that it looks like.
    """
    seen: dict[str, str] = {}
    pairs = [(name, seen.setdefault(_skeleton(name), name)) for name in names]
    return [(name, first) for name, first in pairs if name != first]


def _skeleton(name: str) -> str:
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(c for c in folded if not c.isspace() and unicodedata.category(c) != "Cf")


def subset_names(subset: Any) -> list[str] | None:
    """Reads the names in `subset` of a data set's config; numbers are converted to text.

    Args:
        subset: A name, a list of names, or None.

    Returns:
        The names; None means everything.

    Raises:
        ConfigError: If something else is given, or an empty list.
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
