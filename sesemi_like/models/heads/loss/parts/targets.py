"""Targets: how a prediction becomes a pseudo-label, a distribution over the classes.

Shapes: N rows, C classes.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .base import Part
from .settings import of_kind, other_kind


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


def checked_targets(targets: nn.Module | None) -> nn.Module | None:
    """Returns a part that maps logits to targets, or None for none.

    Raises:
        ValueError: If it is no part, or an alignment or a policy.
    """
    expected = "a part from logits (N, C) to targets (N, C), such as parts.SharpenedTargets"
    if isinstance(targets, Part):
        raise other_kind("targets", targets, expected)
    return None if targets is None else of_kind("targets", targets, nn.Module, expected)
