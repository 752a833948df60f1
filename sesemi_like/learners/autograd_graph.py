"""Which parameters a loss reaches, read off autograd's graph: no gradient is computed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor


def graph_leaves(losses: Iterable[Tensor]) -> set[int]:
    """Finds the leaves of the graph behind some losses.

    Args:
        losses: Tensors of any shape, attached to their graphs or not.

    Returns:
        The ``id`` of every tensor that a backward pass would give a gradient.
    """
    leaves: set[int] = set()
    seen: set[Any] = set()
    pending = [loss.grad_fn for loss in losses if loss.grad_fn is not None]
    while pending:
        node: Any = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            leaves.add(id(leaf))
        pending += [following for following, _ in node.next_functions if following is not None]
    return leaves
