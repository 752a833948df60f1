from .average import AverageAlignment
from .base import Alignment
from .debiased import DebiasedLogits
from .marginals import Marginal
from .queue import QueueAlignment

__all__ = ["Alignment", "AverageAlignment", "DebiasedLogits", "Marginal", "QueueAlignment"]
