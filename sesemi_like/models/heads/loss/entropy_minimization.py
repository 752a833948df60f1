"""Entropy minimization: confident predictions on unlabeled images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .base import Fields, Forward, LossHead, LossOutputs, Step
from .parts.base import Norm
from .parts.distances import entropy
from .parts.metrics import confidence


class EntropyMinimizationLossHead(LossHead):
    """Moves the class boundaries away from the unlabeled data.

    Grandvalet & Bengio, "Semi-supervised learning by entropy minimization", NIPS 2004. For the
    probabilities p = softmax(z) of an unlabeled row::

        loss = -sum_c p_c log p_c

    The loss is largest (log C) when all classes are equally likely and zero when one is certain.
    Its weight, lambda in the paper, grows during training: a high weight from the start makes the
    first guesses final. The paper averages over the unlabeled rows: reduction ``mean``.

    Args:
        input_data: The loader of unlabeled images.
        view: The view, or field, of it to classify.
        network: The network that returns `logits` (N, C).
        norm: What BatchNorm does: update | batch | eval, see :class:`Forward`.

    Example::

        regularization_loss_heads:
          entropy_minimization:
            head:
              _target_: sesemi_like.models.heads.loss.EntropyMinimizationLossHead
              view: weak
    """

    def __init__(
        self,
        input_data: str = "unlabeled",
        view: str = "weak",
        network: str = "classifier",
        norm: Norm = "update",
    ) -> None:
        super().__init__()
        self.input_data = input_data
        self.view = view
        self.network = network
        self.norm: Norm = norm

    def forwards(self, fields: Fields) -> dict[str, Forward]:
        """Asks for the view through the network."""
        return {"image": Forward(f"{self.input_data}.{self.view}", self.network, norm=self.norm)}

    def forward(self, outputs: Mapping[str, Any], step: Step) -> LossOutputs:
        """The entropy of each row."""
        return LossOutputs(entropy(outputs["image"]["logits"]))

    def metrics(self, outputs: Mapping[str, Any], losses: LossOutputs) -> Mapping[str, Tensor]:
        """Metric `confidence`."""
        return confidence(outputs["image"]["logits"])
