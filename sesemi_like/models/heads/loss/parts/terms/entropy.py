"""The entropy of what is learned, as a further term.

Shapes: N unlabeled rows, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ......errors import suggest
from ...base import LossValues
from ...requests import Forward
from ..base import Reads
from ..distances import entropy
from ..prediction import PseudoLabels
from .base import Term

Rows = Literal["all", "kept", "left_out"]


class EntropyTerm(Term):
    """Has the learner be sure of its view, whatever the pseudo-label.

    Grandvalet & Bengio, "Semi-supervised learning by entropy minimization", NIPS 2004: for each row
    ``- sum_c p_c log p_c`` of the learner's probabilities p, which weighs as much as its
    pseudo-label does (``kept``), as much as that lacks to 1 (``left_out``), or 1 (``all``). With
    the reduction ``mean`` each divides by all rows, as the pseudo-labels' own loss does.

    All rows of the learner's view are run for it, those of weight zero as well.

    Args:
        coefficient: Multiplies the reduced term.
        rows: ``all``, ``kept`` or ``left_out``.

    Raises:
        ValueError: If there are no such rows.
    """

    def __init__(self, coefficient: float = 1.0, rows: Rows = "all") -> None:
        super().__init__(coefficient)
        known = ("all", "kept", "left_out")
        if rows not in known:
            raise ValueError(f"rows: found {rows!r}; {suggest(rows, known, noun='rows')}")
        self.rows = rows

    def forwards(self, reads: Reads) -> dict[str, Forward]:
        """Asks for all of the learner's rows."""
        return {"learner": reads.learner}

    def forward(self, labels: PseudoLabels, outputs: Mapping[str, Any]) -> LossValues:
        """The entropy of each row."""
        losses = entropy(outputs["learner"]["logits"])
        if self.rows == "all":
            return LossValues(losses)
        kept = labels.weights
        return LossValues(losses, kept if self.rows == "kept" else (1 - kept).clamp_min(0))
