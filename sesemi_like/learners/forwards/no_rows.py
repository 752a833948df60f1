"""What a network answers to no rows: nothing, attached to the graph, without being called.

Many networks fail on empty batches. A process without rows must still take part in the gradients
of all others, which wait for each other in every step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...trees import replace_leaves, tree_leaves, tree_map
from ..side_effects import without_side_effects


class NoRows:
    """Knows what networks answer, and answers for no rows in their place.

    What a network returns is noted at its first call with rows. One that is first called without is
    tried on a single row of zeros, in evaluation mode and without side effects.
    """

    def __init__(self) -> None:
        self._forms: dict[str, Any] = {}

    def __contains__(self, through: str) -> bool:
        """Whether it is known what a network returns."""
        return through in self._forms

    def note(self, through: str, output: Any, rows: int | None) -> None:
        """Notes what a network returns.

        Args:
            through: The name it is called by.
            output: What it returned.
            rows: How many rows it was given.
        """
        if through not in self._forms and rows:
            self._forms[through] = tree_map(lambda leaf: _without_rows(leaf, rows), output)

    def answer(
        self,
        through: str,
        network: Callable[..., Any],
        module: nn.Module,
        arguments: Sequence[Any],
    ) -> Any:
        """What the network would answer to no rows.

        Args:
            through: The name it is called by.
            network: What is called.
            module: The module behind it.
            arguments: Trees of tensors of no rows.
        """
        leaves = [leaf for argument in arguments for leaf in tree_leaves(argument)]
        if through not in self._forms:
            self._forms[through] = _try_one_row(network, module, arguments)
        sources = [t for t in (*module.parameters(), *leaves) if t.requires_grad]
        attach = sources and torch.is_grad_enabled()
        zero = _AttachedZero.apply(*sources) if attach else None
        form = self._forms[through]
        return replace_leaves(form, [_place(x, leaves[0], zero) for x in tree_leaves(form)])


def _without_rows(leaf: Any, rows: int) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    shape = (0, *leaf.shape[1:]) if leaf.shape[:1] == (rows,) else leaf.shape
    return torch.empty(shape, dtype=leaf.dtype, device="meta")


def _place(leaf: Any, like: Tensor, zero: Tensor | None) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    placed = torch.zeros_like(leaf, device=like.device)
    is_attached = zero is not None and placed.is_floating_point()
    return placed + zero.to(placed) if is_attached and zero is not None else placed


def _try_one_row(network: Callable[..., Any], module: nn.Module, arguments: Sequence[Any]) -> Any:
    leaves = [leaf for argument in arguments for leaf in tree_leaves(argument)]
    ones = [tree_map(lambda x: x.new_zeros((1, *x.shape[1:])), a) for a in arguments]
    with without_side_effects(module, leaves), torch.no_grad():
        module.eval()
        return tree_map(lambda leaf: _without_rows(leaf, 1), network(*ones))


class _AttachedZero(torch.autograd.Function):
    """A zero that depends on tensors, whose gradients from it are zeros."""

    @staticmethod
    def forward(ctx: Any, *sources: Tensor) -> Tensor:
        ctx.sources = [(x.shape, x.dtype, x.device) for x in sources]
        return torch.zeros((), device=sources[0].device)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return tuple(
            torch.zeros((), dtype=dtype, device=device).expand(shape)
            for shape, dtype, device in ctx.sources
        )
