"""Text for terminals: lines that break between items alone, and durations."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len


def wrap_items(items: Sequence[str], width: int | None, separator: str = "  ") -> str:
    """Joins items into lines, with as many on each as fit.

    Args:
        items: At least one text.
        width: Columns of a line; None has all of them on one. A longer item is left whole.
        separator: What stands between two items of a line; a line that is broken keeps its ink.
    """
    if width is None:
        return separator.join(items)
    kept = separator.rstrip()
    lines = [items[0]]
    for item in items[1:]:
        longer = f"{lines[-1]}{separator}{item}"
        if cell_len(longer + kept) <= width:
            lines[-1] = longer
        else:
            lines[-1] += kept
            lines.append(item)
    return "\n".join(lines)


def format_duration(seconds: float | None) -> str:
    """Formats a duration as ``m:ss`` or ``h:mm:ss``; None, which is not known, as ``?``."""
    if seconds is None:
        return "?"
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
