"""FreeMatch's thresholds, which follow how sure predictions are, of all classes and of each.

Shapes: N unlabeled rows, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ......config.facts import DataFacts
from .....networks import Networks
from ..averages import RunningAverage
from ..base import Reads
from ..metrics import class_thresholds
from ..prediction import Prediction
from .base import Policy


class SelfAdaptivePolicy(Policy):
    """Needs the confidence that predictions have on average, less of a class predicted rarely.

    Wang et al., "FreeMatch: self-adaptive thresholding for semi-supervised learning", 2022,
    arXiv 2205.07246, equations 5 to 8. With the probabilities p of a batch, over all processes, a
    prediction q and y = argmax q, in this order::

        t   <- momentum t   + (1 - momentum) mean of max p      the global threshold
        m_c <- momentum m_c + (1 - momentum) mean of p_c
        t_c    = t m_c / max_k m_k                              that of a class
        weight = 1 if q_y >= t_y else 0

    t and all m_c begin with 1/C.

    Args:
        momentum: That of both averages, in [0, 1).
        threshold_range: Lowest and highest t_c, in [0, 1]; TorchSSL's code has ``[0.9, 0.95]`` on
            SVHN.
        global_range: Lowest and highest t, which is kept so; semilearn's `clip_thresh` is
            ``[0, 0.95]``.

    Attributes:
        confidence: t, a :class:`RunningAverage` of one number.
        predicted: m (C,), a :class:`RunningAverage`.

    Raises:
        ValueError: If the momentum is outside [0, 1), or a range is not of two numbers that
            ascend in [0, 1].
    """

    def __init__(
        self,
        momentum: float = 0.999,
        threshold_range: Sequence[float] | None = None,
        global_range: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.confidence = RunningAverage(momentum, "uniform")
        self.predicted = RunningAverage(momentum, "uniform")
        self.threshold_range = _range("threshold_range", threshold_range)
        self.global_range = _range("global_range", global_range)

    def build(self, networks: Networks, facts: DataFacts, reads: Reads) -> None:
        """Creates the averages."""
        size = networks.num_classes(reads.network)
        self.confidence.build(1)
        self.confidence.value.fill_(1 / size)
        self.predicted.build(size)

    def update(self, prediction: Prediction) -> None:
        """Moves the averages by a batch."""
        self.confidence.update(prediction.confidence[:, None])
        self.confidence.value.clamp_(*self.global_range)
        self.predicted.update(prediction.probabilities)

    def forward(self, prediction: Prediction) -> Tensor:
        """Weighs every row (N,)."""
        is_sure = prediction.confidence >= self._thresholds()[prediction.classes]
        return is_sure.to(prediction.logits.dtype)

    def _thresholds(self) -> Tensor:
        predicted = self.predicted.value
        thresholds = self.confidence.value * predicted / predicted.max()
        return thresholds.clamp(*self.threshold_range)

    def metrics(self) -> dict[str, Tensor]:
        """What :func:`~..metrics.class_thresholds` says of the thresholds."""
        return class_thresholds(self._thresholds())


def _range(key: str, found: Sequence[float] | None) -> tuple[float, float]:
    """The lowest and the highest; those of every confidence where none are given."""
    if found is None:
        return 0.0, 1.0
    if len(found) != 2 or not 0 <= found[0] <= found[1] <= 1:
        raise ValueError(f"{key}: found {list(found)}; needs the lowest and highest, in [0, 1]")
    return float(found[0]), float(found[1])
