from ..predictions import Predictions
from .accuracy import Accuracy
from .base import Evaluator
from .callback import Evaluation, Origin
from .confusion import ConfusionMatrix
from .defaults import default_evaluators
from .intervals import wilson_interval
from .knn import KNN
from .losses import Losses

__all__ = [
    "KNN",
    "Accuracy",
    "ConfusionMatrix",
    "Evaluation",
    "Evaluator",
    "Losses",
    "Origin",
    "Predictions",
    "default_evaluators",
    "wilson_interval",
]
