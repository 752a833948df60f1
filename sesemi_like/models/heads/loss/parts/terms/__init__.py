from .base import Term

__all__ = ["Term"]
