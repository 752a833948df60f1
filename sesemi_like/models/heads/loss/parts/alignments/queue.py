"""Alignment by the mean of the last batches of what a teacher predicts.

Shapes: N unlabeled rows, C classes, L batches.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ......config.facts import DataFacts
from .....networks import Networks
from ..averages import mean_of_all
from ..base import Reads
from ..prediction import Prediction
from ..settings import one_of
from .base import Alignment
from .marginals import Marginal, Target, checked_eps, log_ratio


class QueueAlignment(Alignment):
    """Divides by the mean of the last L batches' predictions and multiplies by what it should be.

    Berthelot et al., "ReMixMatch", 2020, arXiv 1911.09785, section 3.1 (L 128, uniform at first,
    target counts); the same with L 32, empty at first, in CoMatch (Li et al., arXiv 2011.11183) and
    SimMatch. With the mean m of the last L batches' means, this one included::

        aligned = softmax(z + log((t + eps) / (m + eps)))

    A batch is what all processes have; each weighs the same, whatever its number of rows. The
    public code of ReMixMatch leaves the present batch out.

    Args:
        target: t: ``uniform``, ``labelled``, ``counts`` or C numbers, see :class:`Marginal`.
        length: L.
        initial: ``uniform`` begins with L batches of 1/C, which later ones replace; ``empty`` with
            none.
        momentum: That of the labeled rows' average, if that is the target, in [0, 1).
        eps: Keeps what is never predicted from being multiplied without bound; above 0.

    Raises:
        ValueError: If a setting is out of its range, or there are not as many numbers as classes.

    Example::

        alignment:
          _target_: sesemi_like.models.heads.loss.parts.QueueAlignment
          target: counts
          length: 128
    """

    means: Tensor
    num_batches: Tensor

    def __init__(
        self,
        target: Target = "uniform",
        length: int = 128,
        initial: Literal["uniform", "empty"] = "uniform",
        momentum: float = 0.999,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        if length < 1:
            raise ValueError(f"length: found {length}; needs one batch at least")
        one_of("initial", initial, ("uniform", "empty"))
        self.target = Marginal(target, momentum)
        self.needs = self.target.needs
        self.length, self.initial, self.eps = length, initial, checked_eps(eps)

    def build(self, networks: Networks, facts: DataFacts, reads: Reads) -> None:
        """Creates the queue."""
        self.target.build(networks, facts, reads)
        size = networks.num_classes(reads.network)
        self.register_buffer("means", torch.full((self.length, size), 1 / size))
        self.register_buffer("num_batches", torch.tensor(0))

    @torch.no_grad()
    def update(self, prediction: Prediction) -> None:
        """Replaces the oldest batch by this one; one without rows is none."""
        self.target.update(prediction)
        rows = prediction.logits.detach().to(self.means.dtype).softmax(dim=1)
        mean, count = mean_of_all(rows)
        # As an index of one number, which a GPU need not be waited for.
        oldest, has_rows = (self.num_batches % self.length)[None], count > 0
        entry = torch.where(has_rows, mean, self.means.index_select(0, oldest))
        self.means.index_copy_(0, oldest, entry)
        self.num_batches += has_rows

    @property
    def average(self) -> Tensor:
        """The mean m of the batches that count (C,); 1/C where none does."""
        if self.initial == "uniform":
            return self.means.mean(dim=0)
        numbers = torch.arange(self.length, device=self.means.device)
        counts = (numbers < self.num_batches.clamp(min=1)).to(self.means.dtype)
        # Not a product of matrices, which mixed precision would make in bfloat16.
        return (counts[:, None] * self.means).sum(dim=0) / counts.sum()

    def forward(self, prediction: Prediction) -> Tensor:
        """Aligned logits (N, C)."""
        return prediction.logits + log_ratio(self.target(), self.average, self.eps)
