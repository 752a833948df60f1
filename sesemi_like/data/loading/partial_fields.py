"""The fields that only some samples of a loader have, and batches in which they are complete."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...errors import BatchError
from ..batches import ROW, Batch, num_rows
from ..samples import Sample
from .collating import Collation


@dataclass(frozen=True)
class PartialFields:
    """The fields that only some samples of a loader have.

    Attributes:
        empty: A tree without rows for each of them: what a batch holds where no sample has it.
    """

    empty: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, batch: Batch) -> PartialFields:
        """Finds the partial fields of a loader in its first batch, which has each with its rows.

        Args:
            batch: As a collation makes it, of samples that have them and others that lack them.
        """
        names = [name for name in batch if f"{name}{ROW}" in batch]
        return cls({name: _without_rows(batch[name]) for name in names})

    def complete(self, batch: Batch) -> Batch:
        """Adds to a batch what it lacks because all of its samples have a field, or none has it.

        Args:
            batch: As a collation makes it.

        Returns:
            The batch, in which each partial field comes with its ``.row``.

        Raises:
            BatchError: If some samples lack a field that is not known to be partial.
        """
        for name in batch:
            if name.endswith(ROW) and (partial := name.removesuffix(ROW)) in batch:
                self._check(partial)
        if not self.empty:
            return batch
        completed = dict(batch)
        for name, empty in self.empty.items():
            if name not in completed:
                completed[name] = empty
                completed[f"{name}{ROW}"] = torch.empty(0, dtype=torch.int64)
            elif f"{name}{ROW}" not in completed:
                completed[f"{name}{ROW}"] = torch.arange(num_rows(completed[name]))
        return completed

    def _check(self, name: str) -> None:
        if name not in self.empty:
            raise BatchError(
                f"some samples lack the field {name!r}, which the first ones do not show: the "
                f"data set must declare it in its attribute `fields`, so that {name}{ROW} is "
                "always there, and one of its first samples must have it"
            )


def _without_rows(tree: Any) -> Any:
    """A tree of the same structure and types without rows."""
    if isinstance(tree, dict):
        return {name: _without_rows(part) for name, part in tree.items()}
    return tree[:0].clone() if isinstance(tree, Tensor) else tree[:0]


class CompleteCollation:
    """A collation whose batches are complete.

    Args:
        collation: Makes a batch of samples.
        partial: The fields that only some samples have.
    """

    def __init__(self, collation: Collation, partial: PartialFields) -> None:
        self.collation, self.partial = collation, partial

    def __call__(self, samples: list[Sample]) -> Batch:
        """Makes a batch of samples."""
        return self.partial.complete(self.collation(samples))
