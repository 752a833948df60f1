"""Batches: fields with a row per sample, and the samples of a batch that were read at once."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Any, overload

import numpy as np
from torch import Tensor

Batch = dict[str, Any]
"""Each field, any tree whose tensors, arrays and lists have a row per sample.

The rows of a field that only some samples have are those that ``<field>.row`` lists: their
positions among the rows of the batch, int64.
"""

ROW = ".row"
"""What the name of the field of positions ends in."""


class StackedSamples(Sequence[dict[str, Any]]):
    """Samples that were read at once: a sequence of dicts whose fields are already stacked.

    Args:
        fields: Each field with a row per sample, at least one that all samples have; a field with
            its ``.row`` is one of those samples alone.
    """

    def __init__(self, fields: Batch) -> None:
        self.fields = fields

    def __len__(self) -> int:
        names = (name for name in self.fields if not is_partial(name, self.fields))
        return num_rows(self.fields[next(names)])

    @overload
    def __getitem__(self, row: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, row: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, row: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        place = range(len(self))[row]  # negative ones count from the end; raises IndexError
        sample = {}
        for name, values in self.fields.items():
            if not is_partial(name, self.fields):
                sample[name] = _row_of(values, place)
            elif not name.endswith(ROW):
                found = (self.fields[name + ROW] == place).nonzero()
                if len(found):
                    sample[name] = _row_of(values, int(found[0]))
        return sample


def is_partial(name: str, fields: Batch) -> bool:
    """Whether a field of a batch is one of some samples alone, or the positions of such a one.

    Args:
        name: The field.
        fields: All fields of the batch.
    """
    return f"{name}{ROW}" in fields or (name.endswith(ROW) and name.removesuffix(ROW) in fields)


def num_rows(field: Any) -> int:
    """The number of rows of a field.

    Args:
        field: A tree whose tensors, arrays and lists have a row per sample.

    Raises:
        ValueError: If it has no rows: it is a number or an empty dict.
    """
    leaf = field
    while isinstance(leaf, dict):
        leaf = next(iter(leaf.values()), None)
    is_scalar = isinstance(leaf, Tensor | np.ndarray) and leaf.ndim == 0
    if is_scalar or isinstance(leaf, str) or not isinstance(leaf, Sized):
        raise ValueError(f"found {type(field).__name__}; needs rows, one for each sample")
    return len(leaf)


def rows_of(field: Any) -> list[Any]:
    """The rows of a field one by one: a value of each sample.

    Args:
        field: As of :func:`num_rows`.
    """
    return [_row_of(field, row) for row in range(num_rows(field))]


def _row_of(field: Any, row: int) -> Any:
    """One row of a tree; lists have a row per sample, dicts are taken apart."""
    if isinstance(field, dict):
        return {name: _row_of(part, row) for name, part in field.items()}
    return field[row]
