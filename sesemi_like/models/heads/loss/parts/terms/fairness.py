"""FreeMatch's self-adaptive fairness: what is learned is as diverse as what is predicted.

Shapes: N unlabeled rows, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ......config.facts import DataFacts
from ......distributed import all_sum
from .....networks import Networks
from ...base import LossValues
from ..averages import RunningAverage
from ..base import Reads
from ..prediction import Prediction, PseudoLabels
from .base import Term


class FairnessTerm(Term):
    """Has the rows that are learned from predict classes as evenly as all rows do on average.

    Wang et al., "FreeMatch: self-adaptive thresholding for semi-supervised learning", 2022,
    arXiv 2205.07246, equations 9 to 11. With the teacher's probabilities p, aligned, and over the
    rows of all processes, in this order::

        m <- momentum m + (1 - momentum) mean of p                    at first 1/C
        h <- momentum h + (1 - momentum) shares of argmax p           at first 1/C

    and, over the rows of weight above 0 alone, the learner's mean probabilities q and the shares g
    of its most likely classes::

        loss = sum_c N(m / h)_c log(N(q / g)_c + 1e-12)        N(x) = x / sum(x), 1/0 is 0

    which is at most 0, and exactly 0 where no row has weight. Only q has a gradient. It is one
    number, the same on all processes, whatever the head's reduction.

    Args:
        coefficient: w_f: 0.01 in the paper with the fewest labels and on SVHN, else 0.05; 0.01 in
            TorchSSL, 0.001 in semilearn's configs.
        momentum: That of both averages, in [0, 1).

    Attributes:
        predicted: m (C,), a :class:`RunningAverage`.
        frequency: h (C,), a :class:`RunningAverage`.

    Raises:
        ValueError: If the momentum is outside [0, 1).
    """

    def __init__(self, coefficient: float = 0.01, momentum: float = 0.999) -> None:
        super().__init__(coefficient)
        self.predicted = RunningAverage(momentum, "uniform")
        self.frequency = RunningAverage(momentum, "uniform")

    def build(self, networks: Networks, facts: DataFacts, reads: Reads) -> None:
        """Creates the averages."""
        size = networks.num_classes(reads.network)
        self.predicted.build(size)
        self.frequency.build(size)

    def update(self, prediction: Prediction, weights: Tensor) -> None:
        """Moves the averages by a batch."""
        self.predicted.update(prediction.probabilities)
        self.frequency.update(_one_hot(prediction.classes, prediction.probabilities))

    def forward(self, labels: PseudoLabels, outputs: Mapping[str, Any]) -> LossValues:
        """The term of a batch, one number."""
        probabilities = labels.learner.softmax(dim=1)
        classes = _one_hot(labels.learner.argmax(dim=1), probabilities)
        is_learned = (labels.weights > 0)[:, None]
        # Sums, for N makes means and shares of them; not a product of matrices, which mixed
        # precision would make in bfloat16.
        sums = (is_learned * torch.cat([probabilities, classes], dim=1)).sum(dim=0)
        if self.training:  # in evaluation processes may have different numbers of batches
            sums = all_sum(sums)
        total, counts = sums.chunk(2)
        counts = counts.detach()
        wanted = _ratio(self.predicted.value, self.frequency.value).to(sums.dtype)
        loss = (wanted * (_ratio(total, counts) + 1e-12).log()).sum()
        return LossValues(loss * (counts.sum() > 0), reduced=True)


def _one_hot(classes: Tensor, like: Tensor) -> Tensor:
    return F.one_hot(classes, like.shape[1]).to(like.dtype)


def _ratio(upper: Tensor, lower: Tensor) -> Tensor:
    """``N(upper / lower)``: zero where `lower` is, zeros where all of it is."""
    ratio = upper * torch.where(lower == 0, 0, 1 / lower)
    total = ratio.sum()
    return ratio / total.masked_fill(total == 0, 1)
