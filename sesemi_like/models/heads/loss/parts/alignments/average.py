"""Alignment by the running average of what a teacher predicts.

Shapes: N unlabeled rows, C classes.
"""

from __future__ import annotations

from torch import Tensor

from ......config.facts import DataFacts
from .....networks import Networks
from ..averages import Initial, RunningAverage
from ..base import Reads
from ..prediction import Prediction
from .base import Alignment
from .marginals import Marginal, Target, checked_eps, log_ratio


class AverageAlignment(Alignment):
    """Divides by a running average of the predictions and multiplies by what it should be.

    Distribution alignment (Berthelot et al., "ReMixMatch", arXiv 1911.09785, section 3.1) with an
    exponential average: "uniform alignment" of SoftMatch (arXiv 2301.10921, equation 9), and with
    `target` labelled that of AdaMatch (arXiv 2106.04732, section 3.2.2). With the mean b of a
    batch's probabilities p, unaligned and over all processes, in this order::

        m <- momentum m + (1 - momentum) b
        aligned = softmax(z + log((t + eps) / (m + eps)))      which is p (t + eps) / (m + eps),
                                                               normalized

    Args:
        target: t: ``uniform``, ``labelled``, ``counts`` or C numbers, see :class:`Marginal`.
        momentum: That of the average, and of the labeled rows' one, in [0, 1).
        initial: ``batch`` begins with the mean of the first batch, as semilearn does; ``uniform``
            with 1/C.
        eps: Keeps what is never predicted from being multiplied without bound; above 0.

    Raises:
        ValueError: If a setting is out of its range, or there are not as many numbers as classes.

    Example::

        alignment:
          _target_: sesemi_like.models.heads.loss.parts.AverageAlignment
          target: uniform
    """

    def __init__(
        self,
        target: Target = "uniform",
        momentum: float = 0.999,
        initial: Initial = "batch",
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.target = Marginal(target, momentum)
        self.needs = self.target.needs
        self.predicted = RunningAverage(momentum, initial)
        self.eps = checked_eps(eps)

    def build(self, networks: Networks, facts: DataFacts, reads: Reads) -> None:
        """Creates the averages."""
        self.target.build(networks, facts, reads)
        self.predicted.build(networks.num_classes(reads.network))

    def update(self, prediction: Prediction) -> None:
        """Moves the averages by a batch."""
        self.target.update(prediction)
        self.predicted.update(prediction.logits.softmax(dim=1))

    def forward(self, prediction: Prediction) -> Tensor:
        """Aligned logits (N, C)."""
        return prediction.logits + log_ratio(self.target(), self.predicted.value, self.eps)
