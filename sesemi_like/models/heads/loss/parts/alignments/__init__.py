from .average import AverageAlignment
from .base import Alignment
from .marginals import Marginal

__all__ = ["Alignment", "AverageAlignment", "Marginal"]
