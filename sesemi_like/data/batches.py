"""Batches: stacked fields, and the samples of a batch that were read at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

from torch import Tensor

Batch = dict[str, Tensor]
"""Each field with a row per sample."""


class StackedSamples(Sequence[dict[str, Any]]):
    """Samples that were read at once: a sequence of dicts whose fields are already stacked.

    Args:
        fields: Each field with a row per sample; at least one.
    """

    def __init__(self, fields: Batch) -> None:
        self.fields = fields

    def __len__(self) -> int:
        return len(next(iter(self.fields.values())))

    @overload
    def __getitem__(self, row: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, row: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, row: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        place = range(len(self))[row]  # negative ones count from the end; raises IndexError
        return {name: values[place] for name, values in self.fields.items()}
