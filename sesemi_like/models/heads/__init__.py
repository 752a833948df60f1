from .linear import LinearHead
from .projection import MLPHead

__all__ = ["LinearHead", "MLPHead"]
