"""Sizes in bytes, as users write and read them: 2000000000, "2 GB", "512 MiB"."""

from __future__ import annotations

import math
import re
from typing import Any

_UNITS = {"": 1, "b": 1}
_UNITS |= {f"{prefix}b": 1000**power for power, prefix in enumerate("kmgt", 1)}
_UNITS |= {f"{prefix}ib": 1024**power for power, prefix in enumerate("kmgt", 1)}
_SIZE = re.compile(r"\s*([0-9]*\.?[0-9]+|[0-9]+\.)\s*([a-z]*)\s*", re.IGNORECASE)


def parse_bytes(size: Any) -> int | None:
    """Reads a number of bytes.

    Args:
        size: A number of bytes; a text of a number and a unit (B, kB, MB, GB, TB of 1000, KiB, MiB,
            GiB, TiB of 1024), in letters of any case; or None.

    Returns:
        The bytes; None for None.

    Raises:
        ValueError: If it is none of these.
    """
    if size is None:
        return None
    is_number = isinstance(size, int | float) and not isinstance(size, bool)
    if is_number and math.isfinite(size) and size >= 0:
        return int(size)
    match = _SIZE.fullmatch(size) if isinstance(size, str) else None
    if match is None or match[2].lower() not in _UNITS:
        raise ValueError(
            "needs a number of bytes, 0 or more, or a text such as '20 GB' or '512 MiB'"
        )
    return int(float(match[1]) * _UNITS[match[2].lower()])


def format_bytes(size: float) -> str:
    """Formats a number of bytes with a unit that keeps its first digits: "600.0 kB", "2.2 GB".

    Args:
        size: Bytes, 0 or more.
    """
    if size < 1000:
        return f"{int(size)} B"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.95:  # what is rounded to 1000.0 takes the next unit
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} TB"
