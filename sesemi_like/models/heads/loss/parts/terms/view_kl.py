"""A term that compares two views of the unlabeled rows.

Shapes: N unlabeled rows, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ...base import LossValues
from ...requests import Forward
from ..base import Reads
from ..distances import softmax_kl
from ..policies import Policy
from ..prediction import PseudoLabels
from ..thresholds import threshold_module
from .base import Term
from .rows import known_rows, weights_of


class ViewKLTerm(Term):
    """Has one view predicted as another one, which is taken as given.

    With source logits z and the prediction p of the target, for each row::

        loss = KL(softmax(z / T) || p)

    It is ReFixMatch's use of the rows that FixMatch leaves out (Nguyen & Yang, 2023,
    arXiv 2308.07509: `rows` left_out, temperature 0.5), and each of the three links between
    SequenceMatch's views (Nguyen, 2023, arXiv 2310.15787: threshold 0.95, temperature 0.5).

    Args:
        coefficient: Multiplies the reduced term.
        source: The view whose prediction is taken as given, by the teacher; null is the head's
            teacher view.
        target: The view whose prediction is corrected; null is the head's learner view.
        temperature: T, above 0; below 1 it sharpens the source.
        rows: ``all``; ``kept``, as much as each row counts; or ``left_out``, 1 less that.
        threshold: The confidence that the source needs for a row to count, in [0, 1], or a part
            that maps its probabilities (N, C) to weights (N,); null is what the head's policy says.

    Raises:
        ValueError: If the temperature is not above 0, there are no such rows, the threshold is
            outside [0, 1] or a policy, or one is given for all rows.
    """

    def __init__(
        self,
        coefficient: float = 1.0,
        source: str | None = None,
        target: str | None = None,
        temperature: float = 1.0,
        rows: str = "kept",
        threshold: float | nn.Module | None = None,
    ) -> None:
        super().__init__(coefficient)
        if temperature <= 0:
            raise ValueError(f"temperature: found {temperature}; needs a number above 0")
        if rows == "all" and threshold is not None:
            raise ValueError(f"threshold: found {threshold}; all rows count, set rows: kept")
        if isinstance(threshold, Policy):
            expected = (
                "needs a confidence in [0, 1]; a policy is the head's `policy`, null follows it"
            )
            raise ValueError(f"threshold: found {type(threshold).__name__}; {expected}")
        self.source, self.target = source, target
        self.temperature = temperature
        self.rows = known_rows(rows)
        self.threshold = None if threshold is None else threshold_module(threshold)

    def forwards(self, reads: Reads) -> dict[str, Forward]:
        """Asks for the views that the head does not read itself, or not all rows of."""
        asked = {}
        if self.source is not None:
            asked["source"] = reads.by_teacher(self.source)
        follows_policy = self.rows == "kept" and self.threshold is None
        if self.target is not None:
            target = reads.by_learner(self.target)
            asked["target"] = reads.kept(target) if follows_policy else target
        elif not follows_policy:
            asked["target"] = reads.learner
        return asked

    def forward(self, labels: PseudoLabels, outputs: Mapping[str, Any]) -> LossValues:
        """The divergence of each row (N,), and how much it counts."""
        source = outputs["source"]["logits"] if "source" in outputs else labels.logits
        target = outputs["target"]["logits"] if "target" in outputs else labels.learner
        losses = softmax_kl(target, source / self.temperature)
        return LossValues(losses, self._weights(labels, source))

    def _weights(self, labels: PseudoLabels, source: Tensor) -> Tensor | None:
        kept = labels.weights
        if self.threshold is not None:
            kept = self.threshold(source.softmax(dim=1))
        return weights_of(self.rows, kept)
