"""SoftMatch's weights: less for what is less sure than most, by a truncated Gaussian.

Shapes: N unlabeled rows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ......config.facts import DataFacts
from .....networks import Networks
from ..averages import mean_of_all
from ..base import Reads
from ..prediction import Prediction
from .base import Policy


class GaussianPolicy(Policy):
    """Weighs a row by how far its confidence is below that of the others.

    Chen et al., "SoftMatch: addressing the quantity-quality trade-off in semi-supervised learning",
    2023, arXiv 2301.10921, equations 5 to 8. With the n confidences of a batch, those of all
    processes, their mean and unbiased variance, and the confidence c of a row, in this order::

        u <- momentum u + (1 - momentum) mean             at first 1/C
        v <- momentum v + (1 - momentum) variance         at first 1
        weight = exp(-min(c - u, 0)^2 / (2 v / n_sigma^2))

    so that a row weighs 1 from the mean on. One row alone has no variance and leaves v.

    Args:
        n_sigma: The Gaussian's standard deviation is that of the confidences divided by this, which
            is above 0; 1 is equation 5 to the letter, 2 what the published code has.
        momentum: That of mean and variance, in [0, 1).

    Attributes:
        mean: u, a tensor of no dimension, float32.
        variance: v, a tensor of no dimension, float32.

    Raises:
        ValueError: If a setting is out of its range.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, n_sigma: float = 2.0, momentum: float = 0.999) -> None:
        super().__init__()
        if n_sigma <= 0:
            raise ValueError(f"n_sigma: found {n_sigma}; needs a number above 0")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum: found {momentum}; needs a number in [0, 1)")
        self.n_sigma, self.momentum = n_sigma, momentum

    def build(self, networks: Networks, facts: DataFacts, reads: Reads) -> None:
        """Creates mean and variance."""
        self.register_buffer("mean", torch.tensor(1 / networks.num_classes(reads.network)))
        self.register_buffer("variance", torch.tensor(1.0))

    def update(self, prediction: Prediction) -> None:
        """Moves mean and variance by a batch."""
        confidence = prediction.confidence[:, None]
        mean, count = mean_of_all(confidence)
        squares, _ = mean_of_all((confidence - mean).square())
        variance = squares * count / (count - 1).clamp_min(1)
        self._move(self.mean, mean[0], count > 0)
        self._move(self.variance, variance[0], count > 1)

    def _move(self, state: Tensor, value: Tensor, is_known: Tensor) -> None:
        moved = self.momentum * state + (1 - self.momentum) * value
        state.copy_(torch.where(is_known, moved, state))

    def forward(self, prediction: Prediction) -> Tensor:
        """Weighs every row (N,), in [0, 1]."""
        below = (prediction.confidence - self.mean).clamp_max(0)
        # After many batches without any, the variance may be too small to divide by.
        variance = self.variance.clamp_min(torch.finfo(torch.float32).tiny)
        weights = (-(below.square()) * self.n_sigma**2 / (2 * variance)).exp()
        return weights.to(prediction.logits.dtype)

    def metrics(self) -> dict[str, Tensor]:
        """The `usual_confidence`, u, and its `deviation`, the root of v."""
        return {"usual_confidence": self.mean, "deviation": self.variance.sqrt()}
