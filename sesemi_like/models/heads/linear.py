"""The linear head: features to logits."""

from __future__ import annotations

from torch import nn


class LinearHead(nn.Linear):
    """One linear layer from features (N, D) to logits (N, C), initialized as torch does.

    Args:
        in_features: D.
        out_features: C.
        bias: Whether logits have a bias.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias=bias)
