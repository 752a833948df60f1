"""Predictions: what a learner answered for the samples of a data set, and how it is put together.

Shapes: N samples, C classes, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

LOSSES = "losses"
"""The name of the losses of a learner's heads among its outputs."""

_GIVEN = ("target", "index")


@dataclass(frozen=True)
class Predictions:
    """What was predicted for samples of a data set, on the CPU.

    A value with a row per sample is a tensor (N, ...) or a list of N: of text, or of tensors whose
    shapes differ, None for a sample that has none. Values may be nested in dicts.

    Attributes:
        target: Class indices (N,), int64, -1 without a label; None where the data have none.
        index: Positions in the data set (N,), int64.
        outputs: The outputs of each evaluated request, headline last:
            ``{"model": {"logits": (N, C), "features": (N, D)}, "ema": {...}}``; only those that
            somebody needs. The losses of the heads are ``{"losses": {head: {term: (N, 4)}}}``, see
            :meth:`~sesemi_like.learners.evaluated_losses.EvaluatedLosses.of`.
        columns: Further fields of the samples that somebody needs, by name.
    """

    target: Tensor | None
    index: Tensor
    outputs: Mapping[str, Any]
    columns: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_batch(
        cls,
        batch: Mapping[str, Any],
        outputs: Mapping[str, Any],
        needs: Collection[str] | None = None,
        rows: Mapping[str, Tensor] | None = None,
    ) -> Predictions:
        """Keeps what is needed of a batch, on the CPU.

        Args:
            batch: The fields of the batch, `index` at least.
            outputs: What each evaluated request answered.
            needs: The names of fields and outputs that are kept: ``logits`` of every request that
                answers it, ``ema.logits``, or all that ``ema`` answered; None keeps all outputs.
            rows: The rows (M,) of the batch that a request was answered for, where not for all.

        Raises:
            ValueError: If a needed value has not one row per sample.
        """
        index = batch["index"].cpu()
        target = batch["target"].cpu() if "target" in batch else None
        kept = {}
        for name, output in outputs.items():
            part = output if needs is None else _needed(name, output, needs)
            if part is not None:
                kept[name] = _per_sample(name, part, len(index), (rows or {}).get(name))
        columns = {
            name: _per_sample(name, batch[name], len(index), rows_of(name, batch))
            for name in needs or ()
            if name in batch and name not in _GIVEN
        }
        return cls(target, index, kept, columns)

    @classmethod
    def concatenate(cls, parts: Sequence[Predictions]) -> Predictions:
        """Concatenates predictions of the same requests, at least one."""
        targets = [part.target for part in parts if part.target is not None]
        return cls(
            torch.cat(targets) if len(targets) == len(parts) else None,
            torch.cat([part.index for part in parts]),
            _concatenate([part.outputs for part in parts]),
            _concatenate([part.columns for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.index)

    @property
    def networks(self) -> list[str]:
        """The evaluated requests, headline last."""
        return [name for name in self.outputs if name != LOSSES]

    def of(self, output: str) -> dict[str, Any]:
        """An output of every request that answers it: ``{"model": (N, C), "ema": (N, C)}``.

        Args:
            output: Its name, such as ``logits``.
        """
        return {
            name: values[output]
            for name, values in self.outputs.items()
            if isinstance(values, Mapping) and output in values
        }

    def select(self, rows: Tensor) -> Predictions:
        """Selects samples: bool (N,) or positions, int64."""
        positions = rows.nonzero().flatten() if rows.dtype == torch.bool else rows

        def selected(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value[positions]
            return [value[position] for position in positions.tolist()]

        target = None if self.target is None else self.target[positions]
        outputs, columns = map_rows(selected, self.outputs), map_rows(selected, self.columns)
        return Predictions(target, self.index[positions], outputs, columns)

    def labeled(self) -> Predictions:
        """Selects the samples that have a label.

        Raises:
            ValueError: If the data have no targets.
        """
        return self.select(self.labels >= 0)

    @property
    def labels(self) -> Tensor:
        """The targets (N,), int64.

        Raises:
            ValueError: If the data have none.
        """
        if self.target is None:
            raise ValueError("the samples have no field target, which is needed")
        return self.target

    def deduplicate(self) -> Predictions:
        """Sorts by index and keeps each sample once: processes repeat some to have equally many."""
        index, order = torch.sort(self.index, stable=True)
        is_first = torch.ones_like(index, dtype=torch.bool)
        is_first[1:] = index[1:] != index[:-1]
        return self.select(order[is_first])


def rows_of(field: str, batch: Mapping[str, Any]) -> Tensor | None:
    """The rows (M,) of a batch that have a field, or None where all have it.

    Args:
        field: Its name; a part of a nested one is had by the rows that have the whole.
        batch: The fields of the batch.
    """
    parts = field.split(".")
    wholes = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    found = (batch.get(f"{whole}.row") for whole in wholes)
    return next((rows for rows in found if rows is not None), None)


def _needed(name: str, output: Any, needs: Collection[str]) -> Any:
    """What is needed of a request's output, or None."""
    if name in needs:
        return output
    if not isinstance(output, Mapping):
        return None
    kept = {key: v for key, v in output.items() if key in needs or f"{name}.{key}" in needs}
    return kept or None


def _per_sample(name: str, tree: Any, count: int, rows: Tensor | None) -> Any:
    """Values on the CPU, each with one row per sample.

    Args:
        name: What they are, for messages.
        tree: The values.
        count: The samples of the batch, N.
        rows: The samples (M,) that the values are of, where not of all.
    """
    positions = None if rows is None or len(rows) == count else rows.tolist()

    def converted(value: Any) -> Any:
        value = _on_cpu(value)
        expected = count if positions is None else len(positions)
        if _length(value) != expected:
            found = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
            raise ValueError(f"{name}: found {found[:80]}; needs a row for each of {expected}")
        if positions is None:
            return value
        spread: list[Any] = [None] * count
        for position, row in zip(positions, value, strict=True):
            spread[position] = row
        return spread

    return map_rows(converted, tree)


def _on_cpu(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        value = torch.as_tensor(value)
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        is_short = value.is_floating_point() and value.dtype not in (torch.float32, torch.float64)
        return value.float() if is_short else value
    if isinstance(value, list | np.ndarray):
        return [_on_cpu(item) for item in value]
    return value


def _length(value: Any) -> int | None:
    if isinstance(value, Tensor):
        return len(value) if value.ndim else None
    return len(value) if isinstance(value, list) else None


def map_rows(function: Callable[[Any], Any], tree: Any) -> Any:
    """Applies a function to every value of nested dicts that is none itself.

    Args:
        function: value -> new value; a list is a value, with an item for each sample.
        tree: Nested dicts; it is not changed.
    """
    if isinstance(tree, Mapping):
        return {name: map_rows(function, value) for name, value in tree.items()}
    return function(tree)


def _concatenate(trees: Sequence[Any]) -> Any:
    first = trees[0]
    if isinstance(first, Mapping):
        names = [name for name in first if all(name in tree for tree in trees)]
        return {name: _concatenate([tree[name] for tree in trees]) for name in names}
    tensors = [value for value in trees if isinstance(value, Tensor)]
    if len(tensors) == len(trees) and len({(v.shape[1:], v.dtype) for v in tensors}) == 1:
        return torch.cat(tensors)
    return [row for value in trees for row in value]
