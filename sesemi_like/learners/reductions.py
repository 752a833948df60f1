"""From one loss per row to one number, exactly as if all processes were one.

DDP averages gradients over W processes, so a process contributes
``W * (its own sum) / (the count of all processes)``: the average of that over processes is the sum
of all rows over the count of all rows, however unevenly rows fall on processes. A process without
rows contributes a zero that is still attached to the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..distributed import all_sum, world_size
from ..models.heads.loss.base import LossOutputs, LossValues


@dataclass(frozen=True)
class ReducedLoss:
    """A head's loss as numbers, tensors of no dimension.

    Attributes:
        loss: The sum of its terms, each times its coefficient.
        terms: The reduced terms by name, without coefficients; empty where losses have no names.
    """

    loss: Tensor
    terms: Mapping[str, Tensor]


def reduce_losses(outputs: LossOutputs, reduction: str) -> Tensor:
    """Reduces the losses of a head to one number, see :func:`reduce_terms`."""
    return reduce_terms(outputs, reduction).loss


def reduce_terms(outputs: LossOutputs, reduction: str) -> ReducedLoss:
    """Reduces the losses of a head.

    Args:
        outputs: What the head returned.
        reduction: ``mean``, ``weighted_mean`` or ``sum``, of every term over its own rows.

    Returns:
        The loss and its terms, in float32, or float64 where losses are. Averaging the gradient over
        processes gives the gradient of a single process that holds all rows.

    Raises:
        KeyError: If there is no such reduction.
        ValueError: If losses are not one per row, or the weights do not match them.
    """
    terms = outputs.terms
    reduced = {name: _reduce_rows(name, term, reduction) for name, term in terms.items()}
    if isinstance(outputs.losses, Tensor):
        return ReducedLoss(reduced["loss"], {})
    values = [_times(terms[name].coefficient, value) for name, value in reduced.items()]
    return ReducedLoss(sum(values[1:], values[0]), reduced)


def _times(coefficient: float | Tensor, value: Tensor) -> Tensor:
    if isinstance(coefficient, Tensor):
        return coefficient.detach() * value
    return value if coefficient == 1 else coefficient * value


def _reduce_rows(name: str, term: LossValues, reduction: str) -> Tensor:
    if term.reduced:
        return _number(name, term)
    own, weights = _rows(name, term.losses, term.weights)
    count = len(own) if term.count is None else term.count
    return REDUCTIONS[reduction](own, weights, count)


def _number(name: str, term: LossValues) -> Tensor:
    """The value of a term that is reduced already."""
    if term.losses.ndim != 0 or term.weights is not None or term.count is not None:
        found = f"losses of shape {tuple(term.losses.shape)}"
        expected = "a reduced term is a tensor of no dimension, without weights and count"
        raise ValueError(f"{name}: found {found}; {expected}")
    return term.losses.to(torch.promote_types(term.losses.dtype, torch.float32))


def mean(losses: Tensor, weights: Tensor | None, count: Tensor | int) -> Tensor:
    """Sum of w * l over the number of rows, whatever their weights."""
    return _divide_by_total(_weighted_sum(losses, weights), count)


def weighted_mean(losses: Tensor, weights: Tensor | None, count: Tensor | int) -> Tensor:
    """Sum of w * l over the sum of w; zero where no row has weight."""
    total = count if weights is None else weights.sum()
    return _divide_by_total(_weighted_sum(losses, weights), total)


def total(losses: Tensor, weights: Tensor | None, count: Tensor | int) -> Tensor:
    """Sum of w * l."""
    own = _weighted_sum(losses, weights)
    return own if world_size() == 1 else own * world_size()


REDUCTIONS: dict[str, Callable[[Tensor, Tensor | None, Tensor | int], Tensor]] = {
    "mean": mean,
    "weighted_mean": weighted_mean,
    "sum": total,
}


def _rows(name: str, losses: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor | None]:
    if losses.ndim != 1:
        raise ValueError(f"{name}: found losses of shape {tuple(losses.shape)}; needs one per row")
    dtype = torch.promote_types(losses.dtype, torch.float32)
    if weights is None:
        return losses.to(dtype), None
    if weights.shape != losses.shape:
        found = f"{tuple(weights.shape)} weights for {tuple(losses.shape)} losses"
        raise ValueError(f"{name}: found {found}; needs one weight per row")
    return losses.to(dtype), weights.detach().to(dtype)


def _weighted_sum(losses: Tensor, weights: Tensor | None) -> Tensor:
    return losses.sum() if weights is None else (losses * weights).sum()


def _divide_by_total(own_sum: Tensor, own_count: Tensor | int) -> Tensor:
    """Divides by a count over all processes; one of zero comes with a sum of zero."""
    if isinstance(own_count, int):
        if world_size() == 1:
            return own_sum / max(own_count, 1)
        count = own_sum.new_full((), own_count)
    else:  # weights may add up to less than 1
        count = own_count.detach().to(own_sum.dtype)
    count = all_sum(count)
    own = own_sum if world_size() == 1 else own_sum * world_size()
    return own / count.masked_fill(count == 0, 1)
