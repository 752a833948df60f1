from .accuracy import Accuracy
from .base import Evaluator, Predictions
from .callback import Evaluation, Origin, default_evaluators
from .confusion import ConfusionMatrix
from .intervals import wilson_interval
from .knn import KNN

__all__ = [
    "KNN",
    "Accuracy",
    "ConfusionMatrix",
    "Evaluation",
    "Evaluator",
    "Origin",
    "Predictions",
    "default_evaluators",
    "wilson_interval",
]
