from .base import Term
from .labelled import LabelledTerm
from .view_kl import ViewKLTerm

__all__ = ["LabelledTerm", "Term", "ViewKLTerm"]
