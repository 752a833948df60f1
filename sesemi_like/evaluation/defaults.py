"""What is measured when the config names nothing."""

from __future__ import annotations

from .accuracy import Accuracy
from .base import Evaluator
from .confusion import ConfusionMatrix
from .losses import Losses


def default_evaluators(*, has_classes: bool = True) -> dict[str, Evaluator]:
    """Accuracy and the confusion matrix of a classifier, the losses of any other learner.

    Args:
        has_classes: Whether the learner distinguishes classes.
    """
    if has_classes:
        return {"accuracy": Accuracy(), "confusion": ConfusionMatrix()}
    return {"losses": Losses()}
