"""Lines of items that are broken between items alone."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len


def packed(items: Sequence[str], width: int | None, separator: str = "  ") -> str:
    """Puts as many items on each line as fit it.

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
