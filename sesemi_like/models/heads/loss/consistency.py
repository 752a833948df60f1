"""Consistency: two views of an image are the same thing (the Pi-model)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .base import Fields, Forward, LossHead, LossOutputs, Step
from .parts.base import Norm
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
        first_norm: What BatchNorm does for the first view: update | batch | eval, see
            :class:`Forward`. ``batch`` for both views has the labeled rows alone move the running
            statistics, as in the public code of FixMatch's authors and in semilearn.
        second_norm: What BatchNorm does for the second view.
        labelled_data: The loader of labeled images, for which the same is asked, as in the papers,
            whose batches are of both; null asks it of `input_data` alone. The loss is then one for
            each row of both loaders, and ``mean`` divides by all of them.
        labelled_first: Its view whose prediction is corrected; that of the supervised loss is
            computed once for both.
        labelled_second: Its view whose prediction is the target.

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
        first_norm: Norm = "update",
        second_norm: Norm = "update",
        labelled_data: str | None = None,
        labelled_first: str = "image",
        labelled_second: str = "weak_2",
    ) -> None:
        super().__init__()
        self.input_data = input_data
        self.first = first
        self.second = second
        self.distance = distance_function(distance)
        self.target_grad = target_grad
        self.network = network
        self.target_network = target_network or network
        self.first_norm: Norm = first_norm
        self.second_norm: Norm = second_norm
        self.labelled_data = labelled_data
        self.labelled_first = labelled_first
        self.labelled_second = labelled_second

    def forwards(self, fields: Fields) -> dict[str, Forward]:
        """Asks for both views, of the labeled images too where they take part."""
        first = Forward(f"{self.input_data}.{self.first}", self.network, norm=self.first_norm)
        asked = {"first": first, "second": self._target(self.input_data, self.second)}
        if self.labelled_data is not None:
            # This forward is that of the supervised loss, whose BatchNorm follows the mode.
            asked["labelled.first"] = Forward(
                f"{self.labelled_data}.{self.labelled_first}", self.network
            )
            asked["labelled.second"] = self._target(self.labelled_data, self.labelled_second)
        return asked

    def _target(self, loader: str, view: str) -> Forward:
        field, norm = f"{loader}.{view}", self.second_norm
        return Forward(field, self.target_network, grad=self.target_grad, norm=norm)

    def forward(self, outputs: Mapping[str, Any], step: Step) -> LossOutputs:
        """The distance of each row, labeled rows last."""
        return LossOutputs(self.distance(*self._logits(outputs)))

    def metrics(self, outputs: Mapping[str, Any], losses: LossOutputs) -> Mapping[str, Tensor]:
        """Metric `agreement`, the share of rows with the same class."""
        first, second = (logits.argmax(dim=1) for logits in self._logits(outputs))
        return {"agreement": (first == second).float().mean()}

    def _logits(self, outputs: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """The logits of the first and of the second view, of all rows that take part."""
        groups = [""] if self.labelled_data is None else ["", "labelled."]
        first, second = (
            torch.cat([outputs[f"{group}{name}"]["logits"] for group in groups])
            for name in ("first", "second")
        )
        return first, second
