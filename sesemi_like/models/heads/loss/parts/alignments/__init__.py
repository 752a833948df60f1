from .base import Alignment

__all__ = ["Alignment"]
