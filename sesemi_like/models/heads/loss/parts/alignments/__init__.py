from .average import AverageAlignment
from .base import Alignment, align, checked_alignment
from .debiased import DebiasedLogits
from .marginals import Marginal
from .queue import QueueAlignment

__all__ = [
    "Alignment",
    "AverageAlignment",
    "DebiasedLogits",
    "Marginal",
    "QueueAlignment",
    "align",
    "checked_alignment",
]
