"""Names that come from files, folders and configs, made comparable: subsets, classes, splits."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from ..errors import ConfigError, ConfigProblem


def comparable(text: str) -> str:
    r"""A name as it is compared and shown: NFC, without spaces around it, and fit to be written.

    Bytes of a file name that are no UTF-8 are shown escaped, as ``\udce9``.
    """
    if text.isascii():
        return text.strip()
    shown = text.encode("utf-8", "backslashreplace").decode()
    return unicodedata.normalize("NFC", shown).strip()


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
