"""The entropy of what is learned, as a further term.

Shapes: N unlabeled rows, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...base import LossValues
from ...requests import Forward
from ..base import Reads
from ..distances import entropy
from ..prediction import PseudoLabels
from .base import Term
from .rows import known_rows, weights_of


class EntropyTerm(Term):
    """Has the learner be sure of its view, whatever the pseudo-label.

    Grandvalet & Bengio, "Semi-supervised learning by entropy minimization", NIPS 2004: for each row
    ``- sum_c p_c log p_c`` of the learner's probabilities p, which weighs as much as its
    pseudo-label does (``kept``), as much as that lacks to 1 (``left_out``), or 1 (``all``). With
    the reduction ``mean`` each divides by all rows, as the pseudo-labels' own loss does.

    Other rows than those kept have all of the learner's view run, those of weight zero as well.

    Args:
        coefficient: Multiplies the reduced term.
        rows: ``all``, ``kept`` or ``left_out``.

    Raises:
        ValueError: If there are no such rows.
    """

    def __init__(self, coefficient: float = 1.0, rows: str = "all") -> None:
        super().__init__(coefficient)
        self.rows = known_rows(rows)

    def forwards(self, reads: Reads) -> dict[str, Forward]:
        """Asks for the learner's rows that the head need not run."""
        return {} if self.rows == "kept" else {"learner": reads.learner}

    def forward(self, labels: PseudoLabels, outputs: Mapping[str, Any]) -> LossValues:
        """The entropy of each row."""
        learner = outputs["learner"]["logits"] if "learner" in outputs else labels.learner
        return LossValues(entropy(learner), weights_of(self.rows, labels.weights))
