"""The linear head: features to logits."""

from __future__ import annotations

from torch import nn

from ...errors import suggest

INITS = ("torch", "xavier")
"""What a head's `init` takes."""


class LinearHead(nn.Linear):
    """One linear layer from features (N, D) to logits (N, C).

    Args:
        in_features: D.
        out_features: C.
        bias: Whether logits have a bias.
        init: ``torch`` draws weights and biases as torch does; ``xavier`` weights from
            N(0, 2 / (D + C)), biases zero (Glorot & Bengio 2010), as published semi-supervised
            results have it.

    Raises:
        ValueError: If there is no such `init`.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, init: str = "torch"
    ) -> None:
        if init not in INITS:
            raise ValueError(f"init: found {init!r}; {suggest(init, INITS, noun='ways')}")
        self.init = init
        super().__init__(in_features, out_features, bias=bias)

    def reset_parameters(self) -> None:
        """Draws the weights."""
        if self.init == "torch":
            super().reset_parameters()
            return
        nn.init.xavier_normal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
