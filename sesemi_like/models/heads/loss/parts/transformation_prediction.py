"""Pretext tasks that ask which of K transformations an image went through.

Shapes: N rows, D features, K transformations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .....config.facts import DataFacts
from ....networks import Networks, in_float32
from ...projection import MLPHead
from ..base import Fields, Forward, LossHead, LossOutputs, Step
from .metrics import top1


class TransformationPredictionLossHead(LossHead):
    """Predicts the transformation from the backbone's features with a linear layer of its own.

    With `hidden_layers` further layers lie before that one, of D units each, with ReLU.

    Args:
        input_data: The loader, or view, that offers `image` and `target` (N,) in [0, K).
        input_backbone: The network that returns `features` (N, D).
        num_transformations: K.
        hidden_layers: How many there are, 0 or more.

    Raises:
        ValueError: If there are fewer than two transformations, or fewer than no hidden layers.
    """

    def __init__(
        self,
        input_data: str,
        input_backbone: str,
        num_transformations: int,
        hidden_layers: int = 0,
    ) -> None:
        super().__init__()
        if num_transformations < 2:
            raise ValueError(f"found {num_transformations} transformations; needs at least 2")
        if hidden_layers < 0:
            raise ValueError(f"hidden_layers: found {hidden_layers}; needs 0 or more")
        self.input_data = input_data
        self.input_backbone = input_backbone
        self.num_transformations = num_transformations
        self.hidden_layers = hidden_layers

    def build(self, networks: Networks, facts: DataFacts) -> None:
        """Creates the layers from D features to K logits."""
        size = networks.feature_size(self.input_backbone)
        self.classifier: nn.Module = nn.Linear(size, self.num_transformations)
        if self.hidden_layers:
            layers = self.hidden_layers + 1
            self.classifier = MLPHead(size, self.num_transformations, num_layers=layers, norm=False)

    def forwards(self, fields: Fields) -> dict[str, Forward]:
        """Asks for the transformed images through the backbone, and for what was done to them."""
        return {
            "image": Forward(f"{self.input_data}.image", self.input_backbone),
            "target": Forward.field(f"{self.input_data}.target"),
        }

    def forward(self, outputs: Mapping[str, Any], step: Step) -> LossOutputs:
        """Cross-entropy of the predicted transformation."""
        logits = self._logits(outputs)
        return LossOutputs(F.cross_entropy(logits, outputs["target"], reduction="none"))

    def metrics(self, outputs: Mapping[str, Any], losses: LossOutputs) -> Mapping[str, Tensor]:
        """Metric `top1`."""
        return top1(self._logits(outputs), outputs["target"])

    def _logits(self, outputs: Mapping[str, Any]) -> Tensor:
        return in_float32(self.classifier, outputs["image"]["features"])
