"""The rows that another policy leaves out.

Shapes: N unlabeled rows.
"""

from __future__ import annotations

from torch import Tensor, nn

from ......config.facts import DataFacts
from .....networks import Networks
from ...base import Step
from ..base import Reads
from ..prediction import Prediction
from .base import Policy
from .fixed import policy_module


class ComplementPolicy(Policy):
    """Weighs every row by what another policy takes from it, ``1 - weight``, at least zero.

    The rows of low confidence in ReFixMatch (Nguyen & Yang, 2023, arXiv 2308.07509).

    Args:
        policy: The other: a confidence in [0, 1], a threshold, or a policy, whose targets are kept.

    Raises:
        ValueError: If the policy is a number outside [0, 1].
    """

    def __init__(self, policy: float | nn.Module = 0.95) -> None:
        super().__init__()
        self.policy = policy_module(policy)
        self.needs = self.policy.needs
        self.targets = self.policy.targets

    def build(self, networks: Networks, facts: DataFacts, reads: Reads) -> None:
        """Creates the other's state."""
        self.policy.build(networks, facts, reads)

    def update(self, prediction: Prediction) -> None:
        """Moves the other's state, before it weighs a batch."""
        self.policy.update(prediction)

    def forward(self, prediction: Prediction) -> Tensor:
        """Weighs every row (N,)."""
        weights: Tensor = self.policy(prediction)
        return (1 - weights).clamp(min=0)

    def follow(self, prediction: Prediction, weights: Tensor) -> None:
        """Moves the other's state, after it weighed a batch."""
        self.policy.follow(prediction, self.policy(prediction))

    def metrics(self) -> dict[str, Tensor]:
        """The metrics of the other."""
        return self.policy.metrics()

    def after_step(self, step: Step) -> None:
        """Tells the other that an optimizer step was made."""
        self.policy.after_step(step)
