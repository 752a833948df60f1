"""Which rows a term is of, by what the policy says of them.

Shapes: N unlabeled rows.
"""

from __future__ import annotations

from torch import Tensor

from ......errors import suggest

ROWS = ("all", "kept", "left_out")
"""All rows; those that the policy keeps, as much as each counts; or the others, 1 less that."""


def known_rows(rows: str) -> str:
    """Returns the rows that a config names.

    Raises:
        ValueError: If there are no such rows.
    """
    if rows not in ROWS:
        raise ValueError(f"rows: found {rows!r}; {suggest(rows, ROWS, noun='rows')}")
    return rows


def weights_of(rows: str, kept: Tensor) -> Tensor | None:
    """How much each row counts in a term.

    Args:
        rows: One of :data:`ROWS`.
        kept: How much each counts for the policy (N,), zero or more.

    Returns:
        (N,), zero or more, or None where all count alike.
    """
    if rows == "all":
        return None
    return kept if rows == "kept" else (1 - kept).clamp(min=0)
