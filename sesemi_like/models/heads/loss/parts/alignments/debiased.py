"""Debiasing: what is predicted often anyway counts less for a pseudo-label.

Shapes: N unlabeled rows, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ......config.facts import DataFacts
from .....networks import Networks
from ..averages import RunningAverage
from ..base import Reads
from ..prediction import Prediction
from .base import Alignment


class DebiasedLogits(Alignment):
    """Takes the log of the average prediction from the teacher, and gives it to the learner.

    Wang et al., "Debiased learning from naturally imbalanced pseudo-labels" (DebiasPL), 2022,
    arXiv 2201.01490, equations 4 to 6. With the mean b of a batch's probabilities softmax(z), over
    all processes::

        p <- momentum p + (1 - momentum) b
        teacher: z - tau log p          learner: s + tau log p

    so pseudo-labels favor classes that are predicted rarely, and the learner needs a larger margin
    for those that are predicted often. The public code takes the teacher's p before this batch.

    Args:
        tau: How much of the bias is removed; 0 is none.
        momentum: That of the average, 1/C at first, in [0, 1).

    Raises:
        ValueError: If tau is negative or the momentum outside [0, 1).
    """

    def __init__(self, tau: float = 0.4, momentum: float = 0.999) -> None:
        super().__init__()
        if tau < 0:
            raise ValueError(f"tau: found {tau}; needs a number of 0 or more")
        self.tau = tau
        self.predicted = RunningAverage(momentum, "uniform")

    def build(self, networks: Networks, facts: DataFacts, reads: Reads) -> None:
        """Creates the average."""
        self.predicted.build(networks.num_classes(reads.network))

    def update(self, prediction: Prediction) -> None:
        """Moves the average by a batch, once in a step."""
        self.predicted.update(prediction.logits.softmax(dim=1))

    def forward(self, prediction: Prediction) -> Tensor:
        """The teacher's logits (N, C) without the bias."""
        return prediction.logits - self._bias

    def of_learner(self, logits: Tensor) -> Tensor:
        """The learner's logits (N, C) with the bias."""
        return logits + self._bias

    @property
    def _bias(self) -> Tensor:
        average = self.predicted.value
        # A class that was long predicted nowhere has an average of zero.
        return self.tau * average.clamp_min(torch.finfo(average.dtype).tiny).log()
