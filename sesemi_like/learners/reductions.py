"""From one loss per row to one number, exactly as if all processes were one.

DDP averages gradients over W processes, so a process contributes
``W * (its own sum) / (the count of all processes)``: the average of that over processes is the sum
of all rows over the count of all rows, however unevenly rows fall on processes. A process without
rows contributes a zero that is still attached to the graph.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor

from ..models.heads.loss.base import LossOutputs


def reduce_losses(outputs: LossOutputs, reduction: str) -> Tensor:
    """Reduces the losses of a head.

    Args:
        outputs: What the head answered; losses (N,) or several terms of (N,).
        reduction: ``mean``, ``weighted_mean`` or ``sum``.

    Returns:
        A scalar (float32), the mean over the head's terms. Averaging its gradient over processes
        gives the gradient of a single process that holds all rows.

    Raises:
        KeyError: If there is no such reduction.
        ValueError: If losses are not one per row, or the weights do not match them.
    """
    terms = outputs.losses if isinstance(outputs.losses, dict) else {"loss": outputs.losses}
    values = [REDUCTIONS[reduction](*_rows(name, t, outputs.weights)) for name, t in terms.items()]
    return torch.stack(values).mean()


def mean(losses: Tensor, weights: Tensor) -> Tensor:
    """Sum of w * l over the number of rows, whatever their weights."""
    return _over_all((losses * weights).sum(), losses.new_full((), len(losses)))


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """Sum of w * l over the sum of w; zero where no row has weight."""
    return _over_all((losses * weights).sum(), weights.sum())


def total(losses: Tensor, weights: Tensor) -> Tensor:
    """Sum of w * l."""
    return (losses * weights).sum() * _world_size()


REDUCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean": mean,
    "weighted_mean": weighted_mean,
    "sum": total,
}


def _rows(name: str, losses: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    if losses.ndim != 1:
        raise ValueError(f"{name}: found losses of shape {tuple(losses.shape)}; needs one per row")
    if weights is None:
        weights = torch.ones_like(losses)
    if weights.shape != losses.shape:
        found = f"{tuple(weights.shape)} weights for {tuple(losses.shape)} losses"
        raise ValueError(f"{name}: found {found}; needs one weight per row")
    return losses.float(), weights.detach().float()


def _over_all(own_sum: Tensor, own_count: Tensor) -> Tensor:
    count = own_count.detach().clone()
    if _world_size() > 1:
        dist.all_reduce(count)
    # A count of zero comes with a sum of zero.
    return own_sum * _world_size() / torch.where(count == 0, torch.ones_like(count), count)


def _world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
