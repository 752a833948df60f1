"""A term that is the loss of pseudo-labels, on labeled rows.

Shapes: M labeled rows, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...base import LossValues
from ...requests import Forward
from ..base import Reads
from ..prediction import PseudoLabels
from .base import Term


class LabelledTerm(Term):
    """Treats labeled rows as if they had no label.

    What the head does with the unlabeled rows is done with the labeled ones: the teacher's
    prediction on their usual view, judged by the same alignment and policy, labels their strong
    view. State follows the unlabeled rows alone.

    Subtracted, with a coefficient of -1, it makes the sum of the losses an unbiased estimate of
    the supervised risk: DeFixMatch (Schmutz et al., "Don't fear the unlabelled: safe
    semi-supervised learning via debiasing", 2023, arXiv 2203.07512, equation 5).

    Rows whose label is -1 are left out; they count neither in the sum nor in the number of rows.

    Args:
        coefficient: Multiplies the reduced term.
        view: The view of the labeled loader that is learned from.
    """

    def __init__(self, coefficient: float = -1.0, view: str = "strong") -> None:
        super().__init__(coefficient)
        self.view = view

    def forwards(self, reads: Reads) -> dict[str, Forward]:
        """Asks for both views of the labeled rows, and for which of them have a label."""
        usual = f"{reads.labelled_data}.{reads.labelled_view}"
        return {
            "teacher": Forward(usual, reads.teacher_network, grad=False),
            "learner": Forward(f"{reads.labelled_data}.{self.view}", reads.network),
            "target": reads.needed("target"),
        }

    def forward(self, labels: PseudoLabels, outputs: Mapping[str, Any]) -> LossValues:
        """The loss of each row (M,), how much it counts, and how many have a label."""
        targets, weights = labels.judge(outputs["teacher"]["logits"])
        losses = labels.compare(outputs["learner"]["logits"], targets)
        labeled = outputs["target"] >= 0
        return LossValues(losses, weights * labeled, labeled.sum())
