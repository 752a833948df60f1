from .accuracy import Accuracy
from .base import Evaluator, Predictions
from .callback import Evaluation, default_evaluators
from .confusion import ConfusionMatrix
from .knn import KNN

__all__ = [
    "KNN",
    "Accuracy",
    "ConfusionMatrix",
    "Evaluation",
    "Evaluator",
    "Predictions",
    "default_evaluators",
]
