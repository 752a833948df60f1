"""The supervised loss: any criterion, on the rows that have a label."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .base import Fields, Forward, LossHead, LossOutputs, Step
from .parts.metrics import top1_hits


class SupervisedLossHead(LossHead):
    """Compares predictions with labels by any criterion.

    For a row with logits z and label y the loss is ``criterion(z, y)``, for instance the
    cross-entropy ``-log softmax(z)_y``. Rows with the label -1 are unlabeled and are left out:
    they count neither in the sum nor in the number of rows.

    With `class_weights` a row weighs ``w_y``. Reduced by ``weighted_mean`` the head then gives what
    ``torch.nn.CrossEntropyLoss(weight=w)`` gives, ``sum(w_y l) / sum(w_y)``; reduced by ``mean``,
    ``sum(w_y l) / N``. Label smoothing is the criterion's own setting.

    Args:
        callable: (logits (N, C), targets (N,)) -> losses (N,). If it has an attribute `reduction`
            that is set to ``"none"``.
        class_weights: One weight, zero or more, per class; null weighs all rows alike.
        input_data: The loader that offers `target` (N,), in [0, C) or -1, and `input_field`.
        network: The network that returns `logits`.
        input_field: The field of the loader that goes through the network.

    Raises:
        ValueError: If a class weight is negative.

    Example::

        supervised_loss:
          callable:
            _target_: torch.nn.CrossEntropyLoss
            label_smoothing: 0.1
          reduction: mean
    """

    class_weights: Tensor | None

    def __init__(
        self,
        callable: Callable[[Tensor, Tensor], Tensor],
        class_weights: Sequence[float] | None = None,
        input_data: str = "supervised",
        network: str = "classifier",
        input_field: str = "image",
    ) -> None:
        super().__init__()
        if hasattr(callable, "reduction"):
            callable.reduction = "none"
        if class_weights is not None and min(class_weights, default=0) < 0:
            raise ValueError(f"class_weights: found {class_weights}; needs weights of 0 or more")
        weights = None if class_weights is None else torch.tensor(class_weights).float()
        self.criterion = callable
        # The config holds the weights, so checkpoints need not.
        self.register_buffer("class_weights", weights, persistent=False)
        self.input_data = input_data
        self.network = network
        self.input_field = input_field

    def forwards(self, fields: Fields) -> dict[str, Forward]:
        """Asks for the inputs through the network, and for their labels."""
        return {
            "image": Forward(f"{self.input_data}.{self.input_field}", self.network),
            "target": Forward.field(f"{self.input_data}.target"),
        }

    def forward(self, outputs: Mapping[str, Any], step: Step) -> LossOutputs:
        """The criterion on the labeled rows.

        Raises:
            ValueError: If the criterion does not return one loss per row, or there are not as
                many class weights as classes.
        """
        logits, target = outputs["image"]["logits"], outputs["target"]
        labeled = target >= 0
        # Any class will do for the other rows: what they lose counts nothing.
        target = target.clamp(min=0)
        losses = self._one_per_row(self.criterion(logits, target), len(target))
        losses = torch.where(labeled, losses, 0)
        weights, count = self._weights(logits, target, labeled), labeled.sum()
        return LossOutputs(losses, weights, count=count)

    def metrics(self, outputs: Mapping[str, Any], losses: LossOutputs) -> Mapping[str, Tensor]:
        """Metric `top1`, nan when no row is labeled."""
        logits, target = outputs["image"]["logits"], outputs["target"]
        labeled = target >= 0
        return {"top1": (top1_hits(logits, target) * labeled).sum() / labeled.sum()}

    def _one_per_row(self, losses: Any, rows: int) -> Tensor:
        if not isinstance(losses, Tensor) or losses.shape != (rows,):
            shape = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise ValueError(
                f"callable: {self.criterion} returned {shape} for {rows} rows; needs one loss per "
                "row, shape (N,), as with reduction='none'"
            )
        return losses

    def _weights(self, logits: Tensor, target: Tensor, labeled: Tensor) -> Tensor | None:
        if self.class_weights is None:
            return None
        if len(self.class_weights) != logits.shape[1]:
            weights, classes = len(self.class_weights), logits.shape[1]
            raise ValueError(f"class_weights: found {weights} weights for {classes} classes")
        return self.class_weights[target] * labeled
