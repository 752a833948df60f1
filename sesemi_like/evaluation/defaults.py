"""What is measured when the config names nothing."""

from __future__ import annotations

from .accuracy import Accuracy
from .base import Evaluator
from .confusion import ConfusionMatrix


def default_evaluators() -> dict[str, Evaluator]:
    """Accuracy and the confusion matrix."""
    return {"accuracy": Accuracy(), "confusion": ConfusionMatrix()}
