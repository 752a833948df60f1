"""The contract of a policy: which pseudo-labels count, and how much.

Shapes: N unlabeled rows, C classes.
"""

from __future__ import annotations

from torch import Tensor, nn

from ..base import Part, checked_answer
from ..prediction import Prediction


class Policy(Part):
    """Weighs every row by its prediction.

    One that keeps the surer half of a batch::

        class SurerHalf(Policy):
            def forward(self, prediction):
                confidence = prediction.confidence
                return (confidence >= confidence.median()).to(confidence.dtype)

    Attributes:
        targets: The part that makes its targets, where the method that it comes from says so;
            a head's own `targets` takes precedence.
    """

    def __init__(self) -> None:
        super().__init__()
        # An attribute of the class would hide a module that is set on an instance.
        self.targets: nn.Module | None = None

    def forward(self, prediction: Prediction) -> Tensor:
        """Weighs a batch; reads the state alone.

        Args:
            prediction: The batch, aligned.

        Returns:
            One weight per row (N,), zero or more, of the dtype of the logits.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say which rows count")

    def follow(self, prediction: Prediction, weights: Tensor) -> None:
        """Moves the state by a batch after it was weighed; in training alone.

        Args:
            prediction: The batch, aligned.
            weights: What :meth:`forward` returned (N,).
        """

    def metrics(self) -> dict[str, Tensor]:
        """Named scalars of the state to log, such as a threshold; the same names at every step."""
        return {}


def weigh(policy: Policy, prediction: Prediction, *, updates: bool) -> Tensor:
    """Weighs a batch (N,); its state moves by the batch before and after.

    Args:
        policy: The policy.
        prediction: The batch, aligned.
        updates: Whether the state moves, as in training.

    Raises:
        ValueError: If it answers something else than weights.
    """
    if updates:
        policy.update(prediction)
    weights = checked_answer(policy, policy(prediction), prediction.aligned[:, 0])
    if updates:
        policy.follow(prediction, weights)
    return weights
