"""A threshold relative to how sure the labeled rows are predicted.

Shapes: N unlabeled rows, M labeled rows.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from ......config.facts import DataFacts
from .....networks import Networks
from ..averages import mean_of_all
from ..base import Reads
from ..prediction import Prediction
from .base import Policy


class RelativePolicy(Policy):
    """Keeps the rows whose largest probability reaches a share of what labeled rows have.

    Berthelot et al., "AdaMatch", 2022, arXiv 2106.04732, section 3.2.3. With r the mean over the
    labeled rows of a step, on all processes, of their largest probability, unaligned::

        weight = 1 if max p >= threshold r else 0

    In evaluation, and where no row of a step has a label, r is that of the last step which had
    some; before the first it is 1.

    Args:
        threshold: The share, in [0, 1]; 0.9 in AdaMatch, 0.95 in semilearn.

    Raises:
        ValueError: If the threshold is outside [0, 1].
    """

    needs = ("labelled", "target")
    labelled_confidence: Tensor

    def __init__(self, threshold: float = 0.9) -> None:
        super().__init__()
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold: found {threshold}; needs a share in [0, 1]")
        self.threshold = threshold

    def build(self, networks: Networks, facts: DataFacts, reads: Reads) -> None:
        """Creates the state."""
        self.register_buffer("labelled_confidence", torch.ones(()))

    @torch.no_grad()
    def update(self, prediction: Prediction) -> None:
        """Takes r from the rows of this step that have a label."""
        logits, target = cast(Tensor, prediction.labelled), cast(Tensor, prediction.target)
        own = logits.to(self.labelled_confidence.dtype).softmax(dim=1).amax(dim=1)
        mean, count = mean_of_all(own[:, None], target >= 0)
        self.labelled_confidence.copy_(torch.where(count > 0, mean[0], self.labelled_confidence))

    def forward(self, prediction: Prediction) -> Tensor:
        """Weighs every row (N,)."""
        is_sure = prediction.confidence >= self.threshold * self.labelled_confidence
        return is_sure.to(prediction.logits.dtype)

    def metrics(self) -> dict[str, Tensor]:
        """Metric `threshold`, the confidence that is needed."""
        return {"threshold": self.threshold * self.labelled_confidence}
