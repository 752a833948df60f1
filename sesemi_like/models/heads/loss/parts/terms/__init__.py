from .base import Term, checked_terms
from .entropy import EntropyTerm
from .fairness import FairnessTerm
from .feature_distance import FeatureDistanceTerm
from .labelled import LabelledTerm
from .view_kl import ViewKLTerm

__all__ = [
    "EntropyTerm",
    "FairnessTerm",
    "FeatureDistanceTerm",
    "LabelledTerm",
    "Term",
    "ViewKLTerm",
    "checked_terms",
]
