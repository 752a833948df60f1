"""Thresholds: which pseudo-labels are confident enough to learn from.

Shapes: N rows, C classes.
"""

from __future__ import annotations

from torch import Tensor, nn

from .base import Part
from .settings import of_kind, other_kind

_EXPECTED = "a confidence in [0, 1], or a part from probabilities (N, C) to weights (N,)"


class FixedThreshold(nn.Module):
    """Keeps a row whose largest probability reaches a fixed value.

    Args:
        value: The confidence that is needed, in [0, 1]; 0 keeps every row.

    Raises:
        ValueError: If the value is outside [0, 1].
    """

    def __init__(self, value: float = 0.95) -> None:
        super().__init__()
        if not 0 <= value <= 1:
            raise ValueError(f"threshold: found {value}; needs a confidence in [0, 1]")
        self.value = value

    def forward(self, probabilities: Tensor) -> Tensor:
        """Weighs every row.

        Args:
            probabilities: The prediction that a pseudo-label is made from (N, C).

        Returns:
            1 for each row that is kept and 0 for the others (N,), of the same dtype.
        """
        return (probabilities.amax(dim=1) >= self.value).to(probabilities.dtype)


def threshold_module(threshold: float | nn.Module) -> nn.Module:
    """Returns the module of a threshold: a fixed one for a number, a given module itself.

    Raises:
        ValueError: If the number is outside [0, 1], or it is an alignment or a policy.
    """
    if isinstance(threshold, Part):
        raise other_kind("threshold", threshold, _EXPECTED)
    if isinstance(threshold, nn.Module):
        return threshold
    return FixedThreshold(of_kind("threshold", threshold, (int, float), _EXPECTED))
