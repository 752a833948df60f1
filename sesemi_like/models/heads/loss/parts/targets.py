"""Targets: how a prediction becomes a pseudo-label, a distribution over the classes.

Shapes: N rows, C classes.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class HardTargets(nn.Module):
    """All probability on the most likely class (Lee, "Pseudo-Label", 2013; FixMatch)."""

    def forward(self, logits: Tensor) -> Tensor:
        """Turns logits (N, C) into one-hot rows (N, C) of the same dtype."""
        return F.one_hot(logits.argmax(dim=1), logits.shape[1]).to(logits.dtype)


class SharpenedTargets(nn.Module):
    """The probabilities themselves, sharpened by a temperature: ``softmax(logits / T)``.

    Args:
        temperature: T, above 0. 1 keeps the probabilities (soft targets), below 1
            sharpens them (UDA, arXiv 1904.12848, has 0.4), towards 0 they become hard targets.

    Raises:
        ValueError: If the temperature is not above 0.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature: found {temperature}; needs a number above 0")
        self.temperature = temperature

    def forward(self, logits: Tensor) -> Tensor:
        """Turns logits (N, C) into probabilities (N, C)."""
        return (logits / self.temperature).softmax(dim=1)
