"""Rows of a call: which are run, how those of several requests are stacked, and what none answer.

Shapes: N rows of a request's data.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...trees import replace_leaves, tree_leaves, tree_map


def count_rows(arguments: Sequence[Any]) -> int | None:
    """How many rows the arguments of a call have.

    Args:
        arguments: Trees.

    Returns:
        N where every leaf is a tensor (N, ...), else None.
    """
    counts = {
        leaf.shape[0] if isinstance(leaf, Tensor) and leaf.ndim else None
        for argument in arguments
        for leaf in ((argument,) if isinstance(argument, Tensor) else tree_leaves(argument))
    }
    return counts.pop() if len(counts) == 1 else None


def kind_of(arguments: Sequence[Any]) -> Hashable:
    """What arguments must have in common for their rows to be stacked: structure, shape, dtype."""
    return tuple(map(_kind, arguments))


def _kind(tree: Any) -> Hashable:
    if isinstance(tree, Tensor):
        return tree.shape[1:], tree.dtype
    if isinstance(tree, dict):
        return tuple((name, _kind(value)) for name, value in tree.items())
    return type(tree).__name__, tuple(map(_kind, tree))


def stack(arguments: Sequence[Sequence[Any]]) -> list[Any]:
    """Puts the rows of several calls after each other.

    Args:
        arguments: The arguments of each call, of one kind.
    """
    return [
        torch.cat(same) if isinstance(same[0], Tensor) else _stack_trees(same)
        for same in zip(*arguments, strict=True)
    ]


def _stack_trees(trees: Sequence[Any]) -> Any:
    leaves = zip(*map(tree_leaves, trees), strict=True)
    return replace_leaves(trees[0], [torch.cat(same) for same in leaves])


def unstack(output: Any, sizes: list[int]) -> list[Any]:
    """Splits every tensor of an output into the rows of each call.

    Args:
        output: A tree of tensors of ``sum(sizes)`` rows.
        sizes: The rows of each call.

    Raises:
        ValueError: If the output has other parts.
    """
    leaves = tree_leaves(output)
    _check_rows(leaves, sum(sizes), "model.forward: separate takes such networks")
    if isinstance(output, Tensor):
        return list(output.split(sizes))
    pieces = zip(*(leaf.split(sizes) for leaf in leaves), strict=True)
    return [replace_leaves(output, piece) for piece in pieces]


def _check_rows(leaves: Iterable[Any], rows: int, way_out: str) -> None:
    if not all(isinstance(leaf, Tensor) and leaf.shape[:1] == (rows,) for leaf in leaves):
        raise ValueError(
            f"an output has parts that are not tensors with one row per input row; {way_out}"
        )


@dataclass(frozen=True)
class Kept:
    """The rows of a request that weigh something, of which alone its network is called.

    Attributes:
        index: Their positions (M,), int64.
        total: N, the rows of its data.
    """

    index: Tensor
    total: int

    @classmethod
    def of(cls, weights: Tensor, arguments: Sequence[Any]) -> Kept | None:
        """Finds the rows that weigh something; None where all do, or data have no rows.

        Args:
            weights: One weight per row (N,). On a GPU this waits until they are computed.
            arguments: The data.

        Raises:
            ValueError: If there is not one weight per row.
        """
        total = count_rows(arguments)
        if total is None:
            return None
        if weights.shape != (total,):
            found = f"{tuple(weights.shape)} weights for {total} rows"
            raise ValueError(f"rows: found {found}; needs one weight per row")
        index = weights.nonzero().squeeze(1)
        return None if len(index) == total else cls(index, total)

    def select(self, arguments: Sequence[Any]) -> list[Any]:
        """Keeps these rows of the data alone, in the memory format they have."""
        return [tree_map(lambda leaf: leaf[self.index], a) for a in arguments]

    def spread(self, output: Any) -> Any:
        """Puts the rows of an output back in their places; the others become zero.

        Args:
            output: A tree of tensors (M, ...).

        Raises:
            ValueError: If the output has other parts.
        """
        _check_rows(tree_leaves(output), len(self.index), "model.rows: off takes such networks")
        return tree_map(self._spread, output)

    def _spread(self, leaf: Tensor) -> Tensor:
        full = leaf.new_zeros((self.total, *leaf.shape[1:]))
        return full.index_copy(0, self.index, leaf)
