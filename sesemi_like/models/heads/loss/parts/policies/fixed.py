"""Policies without state: a fixed threshold, or any function of the probabilities.

Shapes: N unlabeled rows, C classes.
"""

from __future__ import annotations

from torch import Tensor, nn

from ..base import Part
from ..prediction import Prediction
from ..settings import other_kind
from ..terms.base import Term
from ..thresholds import threshold_module
from .base import Policy


class FixedPolicy(Policy):
    """Keeps the rows whose largest probability reaches a threshold.

    Sohn et al., "FixMatch", 2020, arXiv 2001.07685, equation 4.

    Args:
        threshold: The confidence needed, in [0, 1], 0 keeps every row; or a part that maps
            probabilities (N, C) to weights (N,).

    Raises:
        ValueError: If the threshold is a number outside [0, 1].
    """

    def __init__(self, threshold: float | nn.Module = 0.95) -> None:
        super().__init__()
        self.threshold = threshold_module(threshold)

    def forward(self, prediction: Prediction) -> Tensor:
        """Weighs every row (N,)."""
        weights: Tensor = self.threshold(prediction.probabilities)
        return weights


def policy_module(policy: float | nn.Module) -> Policy:
    """Returns a policy itself, and for a number or a threshold one that applies it.

    Raises:
        ValueError: If the number is outside [0, 1], or it is a part of another kind.
    """
    if isinstance(policy, Policy):
        return policy
    if isinstance(policy, Part | Term) or not isinstance(policy, nn.Module | int | float):
        expected = "a confidence in [0, 1], or a policy such as parts.CurriculumPolicy"
        raise other_kind("policy", policy, expected)
    return FixedPolicy(policy)
