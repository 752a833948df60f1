"""Averages over the rows of all processes, and what they are over the steps of a run.

Shapes: N rows on this process, K numbers.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from .....distributed import all_sum
from .settings import one_of

Initial = Literal["batch", "uniform"]


def mean_of_all(
    rows: Tensor, weights: Tensor | None = None, *, is_shared: bool = True
) -> tuple[Tensor, Tensor]:
    """The mean of the rows of all processes, in one collective at most.

    Args:
        rows: (N, K), without gradients; N may differ between processes and be zero.
        weights: How much each row counts (N,), zero or more; None counts all alike.
        is_shared: False takes the rows of this process alone, as in evaluation, where processes may
            have different numbers of batches.

    Returns:
        The mean (K,), zeros where nothing counts, and the sum of the weights, a tensor of no
        dimension; both the same on every process.
    """
    weights = rows.new_ones(len(rows)) if weights is None else weights.to(rows.dtype)
    # Not a product of matrices, which mixed precision would make in bfloat16.
    own = (weights[:, None] * rows).sum(dim=0)
    sums = torch.cat([own, weights.sum()[None]])
    sums = all_sum(sums) if is_shared else sums
    total, count = sums[:-1], sums[-1]
    return total / count.masked_fill(count == 0, 1), count


class RunningAverage(nn.Module):
    """An exponential moving average of what batches are on average, exact over processes.

    With the mean b of a batch, over all processes, ``a <- momentum a + (1 - momentum) b``; a batch
    without rows changes nothing.

    Args:
        momentum: In [0, 1).
        initial: ``uniform`` begins with 1/K, as a batch that was seen; ``batch`` with the mean of
            the first batch, and has 1/K before that.

    Attributes:
        value: The average (K,), float32, once its size is known.

    Raises:
        ValueError: If the momentum is outside [0, 1), or there is no such beginning.
    """

    value: Tensor
    has_begun: Tensor

    def __init__(self, momentum: float = 0.999, initial: Initial = "batch") -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum: found {momentum}; needs a number in [0, 1)")
        one_of("initial", initial, ("batch", "uniform"))
        self.momentum, self.initial = momentum, initial

    def build(self, size: int) -> None:
        """Creates the state, for K numbers."""
        self.register_buffer("value", torch.full((size,), 1 / size))
        self.register_buffer("has_begun", torch.tensor(self.initial == "uniform"))

    @torch.no_grad()
    def update(self, rows: Tensor, weights: Tensor | None = None) -> None:
        """Moves the average by a batch.

        Args:
            rows: The rows of this process (N, K).
            weights: How much each counts (N,), zero or more; None counts all alike.
        """
        mean, count = mean_of_all(rows.detach().to(self.value.dtype), weights)
        moved = self.momentum * self.value + (1 - self.momentum) * mean
        moved = torch.where(self.has_begun, moved, mean)
        self.value.copy_(torch.where(count > 0, moved, self.value))
        self.has_begun |= count > 0
