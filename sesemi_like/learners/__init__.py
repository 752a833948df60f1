from .base import Learner
from .classifier import Classifier
from .forwards import ForwardPlan
from .terms import LossTerm

__all__ = ["Classifier", "ForwardPlan", "Learner", "LossTerm"]
