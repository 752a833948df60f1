"""Predictions gathered over the processes of a run: tensors as tensors, text as objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .distributed import gather_objects, gather_rows
from .predictions import Predictions, map_rows


@torch.no_grad()
def gather(own: Predictions | None, device: torch.device | str = "cpu") -> Predictions | None:
    """Gathers the predictions of all processes, on every process; all of them must call it.

    Tensors travel as tensors, text as objects.

    Args:
        own: The predictions of this process; None where it had no sample.
        device: Where the processes communicate: a GPU for NCCL, the CPU for gloo.

    Returns:
        Those of the first process, then of the second and so on; None where none had a sample.
    """
    values = None if own is None else {"index": own.index, "outputs": own.outputs}
    if own is not None and values is not None:
        values |= {"columns": own.columns}
        values |= {} if own.target is None else {"target": own.target}
    kinds = [
        kind for kind in gather_objects(None if own is None else map_rows(_kind, values)) if kind
    ]
    if not kinds:
        return None
    found = _gather_tree(values, kinds, device)
    return Predictions(found.get("target"), found["index"], found["outputs"], found["columns"])


def _gather_tree(own: Any, kinds: list[Any], device: torch.device | str) -> Any:
    """Gathers the values of a tree that all processes with samples have."""
    if isinstance(kinds[0], dict):
        names = [name for name in kinds[0] if all(name in kind for kind in kinds)]
        inner = {name: [kind[name] for kind in kinds] for name in names}
        return {
            name: _gather_tree(None if own is None else own[name], inner[name], device)
            for name in names
        }
    if all(kind == kinds[0] for kind in kinds) and isinstance(kinds[0], _Rows):
        return _gather_tensor(kinds[0].none() if own is None else own, device)
    ragged = {kind.row for kind in kinds if not kind.is_empty}
    if len(ragged) == 1 and (row := ragged.pop()) is not None:
        return _gather_ragged([] if own is None else list(own), row, device)
    lists: list[list[Any]] = gather_objects([] if own is None else list(own))
    return [value for values in lists for value in values]


@dataclass(frozen=True)
class _RowKind:
    """What rows of differing shapes have in common: how many dimensions, and their dtype."""

    ndim: int
    dtype: torch.dtype


@dataclass(frozen=True)
class _Rows:
    """What tensors of two processes must have in common to be concatenated."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    is_empty = False

    @property
    def row(self) -> _RowKind:
        return _RowKind(len(self.shape), self.dtype)

    def none(self) -> Tensor:
        return torch.zeros(0, *self.shape, dtype=self.dtype)


@dataclass(frozen=True)
class _Items:
    """The kind of a list: that of the tensors in it, or None where it has anything else."""

    row: _RowKind | None
    is_empty: bool = False


def _kind(value: Any) -> _Rows | _Items:
    if isinstance(value, Tensor):
        return _Rows(tuple(value.shape[1:]), value.dtype)
    rows = {
        _RowKind(item.ndim, item.dtype) if isinstance(item, Tensor) else None
        for item in value
        if item is not None
    }
    return _Items(next(iter(rows)) if len(rows) == 1 else None, is_empty=not rows)


def _gather_tensor(own: Tensor, device: torch.device | str) -> Tensor:
    if own.dtype == torch.bool:
        return _gather_tensor(own.to(torch.uint8), device).bool()
    return gather_rows(own.to(device)).cpu()


def _gather_ragged(own: list[Tensor | None], kind: _RowKind, device: Any) -> list[Tensor | None]:
    """Gathers tensors of differing shapes as one tensor of their values and one of their shapes."""
    lacking = (-1,) * max(kind.ndim, 1)
    shapes = [lacking if row is None else (tuple(row.shape) or (1,)) for row in own]
    sizes = _gather_tensor(
        torch.tensor(shapes, dtype=torch.int64).reshape(-1, len(lacking)), device
    )
    flat = [row.reshape(-1) for row in own if row is not None]
    values = _gather_tensor(torch.cat([torch.zeros(0, dtype=kind.dtype), *flat]), device)
    counts = sizes.prod(dim=1).where(sizes[:, 0] >= 0, 0).tolist()
    rows = zip(values.split(counts), sizes.tolist(), strict=True)
    return [None if size[0] < 0 else row.reshape(size if kind.ndim else ()) for row, size in rows]
