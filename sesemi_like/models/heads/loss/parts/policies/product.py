"""The rows that several policies keep.

Shapes: N unlabeled rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ......config.facts import DataFacts
from .....networks import Networks
from ...base import Step
from ..base import Reads, needs_of
from ..prediction import Prediction
from .base import Policy
from .fixed import policy_module


class ProductPolicy(Policy):
    """Weighs every row by the product of what several policies give it.

    A threshold and a rate for each class, for instance, as in ABC (Lee et al., 2021,
    arXiv 2110.10368, equation 4)::

        policy:
          _target_: sesemi_like.models.heads.loss.parts.ProductPolicy
          policies: [0.95, {_target_: sesemi_like.models.heads.loss.parts.ClassSamplingPolicy}]

    Each moves its own state by what it gives itself. Of their targets the first there are count.

    Args:
        policies: Confidences in [0, 1], thresholds, or policies; one at least.

    Raises:
        ValueError: If there is none, or one is a number outside [0, 1].
    """

    def __init__(self, policies: Sequence[float | nn.Module]) -> None:
        super().__init__()
        if not policies:
            raise ValueError("policies: found none; needs one at least")
        self._policies: list[Policy] = [policy_module(policy) for policy in policies]
        self.policies = nn.ModuleList(self._policies)
        self.needs = needs_of(self._policies)
        targets = [policy.targets for policy in self._policies if policy.targets is not None]
        self.targets = targets[0] if targets else None

    def build(self, networks: Networks, facts: DataFacts, reads: Reads) -> None:
        """Creates their state."""
        for policy in self._policies:
            policy.build(networks, facts, reads)

    def update(self, prediction: Prediction) -> None:
        """Moves their state, before they weigh a batch."""
        for policy in self._policies:
            policy.update(prediction)

    def forward(self, prediction: Prediction) -> Tensor:
        """Weighs every row (N,)."""
        first, *others = self._policies
        weights: Tensor = first(prediction)
        for policy in others:
            weights = weights * policy(prediction)
        return weights

    def follow(self, prediction: Prediction, weights: Tensor) -> None:
        """Moves their state, after they weighed a batch."""
        for policy in self._policies:
            policy.follow(prediction, policy(prediction))

    def metrics(self) -> dict[str, Tensor]:
        """Their metrics; of one name the first keeps it, the others have a number behind it."""
        found: dict[str, Tensor] = {}
        for number, policy in enumerate(self._policies, start=1):
            for name, value in policy.metrics().items():
                found[f"{name}_{number}" if name in found else name] = value
        return found

    def after_step(self, step: Step) -> None:
        """Tells them that an optimizer step was made."""
        for policy in self._policies:
            policy.after_step(step)
