"""Consistency: two views of an image are the same thing (the Pi-model)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .base import Fields, Forward, LossHead, LossOutputs, Step
from .parts.distances import Distance, distance_function


class ConsistencyLossHead(LossHead):
    """Asks for the same prediction on two random views of an image.

    Laine & Aila, "Temporal ensembling for semi-supervised learning" (Pi-model), 2017,
    arXiv 1610.02242, algorithm 1. With z and z' the class probabilities of the two views::

        loss = 1/C sum_c (z_c - z'_c)^2          distance: mse, the paper's
        loss = sum_c z'_c log(z'_c / z_c)        distance: kl, the second view is the target

    The paper averages over all rows of the batch and over the classes (``1 / (C |B|)``): reduction
    ``mean``, and lets gradients flow through both views. Its weight grows from zero along
    exp(-5 (1 - t)^2); see `sesemi_like.schedulers.SigmoidSchedule`.

    Args:
        input_data: The loader of unlabeled images.
        first: The view whose prediction is corrected.
        second: The view whose prediction is the target.
        distance: ``mse``, ``kl``, or a callable of two logits (N, C) that returns (N,).
        target_grad: Whether the target is corrected too. False takes it as given.
        network: The network that returns `logits` (N, C) for the first view.
        target_network: The network for the second view; null is `network`.

    Raises:
        ValueError: If there is no such distance.

    Example::

        regularization_loss_heads:
          consistency:
            head: {_target_: sesemi_like.models.heads.loss.ConsistencyLossHead, distance: mse}
            scheduler: {_target_: sesemi_like.schedulers.SigmoidSchedule, duration: 40000}
            scale_factor: 100
    """

    def __init__(
        self,
        input_data: str = "unlabeled",
        first: str = "weak",
        second: str = "weak_2",
        distance: str | Distance = "mse",
        target_grad: bool = True,
        network: str = "classifier",
        target_network: str | None = None,
    ) -> None:
        super().__init__()
        self.input_data = input_data
        self.first = first
        self.second = second
        self.distance = distance_function(distance)
        self.target_grad = target_grad
        self.network = network
        self.target_network = target_network or network

    def forwards(self, fields: Fields) -> dict[str, Forward]:
        """Asks for both views."""
        second = f"{self.input_data}.{self.second}"
        return {
            "first": Forward(f"{self.input_data}.{self.first}", self.network),
            "second": Forward(second, self.target_network, grad=self.target_grad),
        }

    def forward(self, outputs: Mapping[str, Any], step: Step) -> LossOutputs:
        """The distance of each row."""
        return LossOutputs(self.distance(outputs["first"]["logits"], outputs["second"]["logits"]))

    def metrics(self, outputs: Mapping[str, Any], losses: LossOutputs) -> Mapping[str, Tensor]:
        """Metric `agreement`, the share of rows with the same class."""
        first, second = (outputs[name]["logits"].argmax(dim=1) for name in ("first", "second"))
        return {"agreement": (first == second).float().mean()}
