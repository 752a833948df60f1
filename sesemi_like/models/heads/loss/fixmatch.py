"""FixMatch: the confident prediction on a weak view labels the strong view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .base import Fields, Forward, LossHead, LossOutputs, Step
from .parts.metrics import confidence
from .parts.targets import HardTargets
from .parts.thresholds import threshold_module


class FixMatchLossHead(LossHead):
    """Learns from its own confident predictions.

    Sohn et al., "FixMatch: simplifying semi-supervised learning with consistency and confidence",
    2020, arXiv 2001.07685, equation 4. With q = p(weak view), taken as given, for each row::

        loss   = H(onehot(argmax q), p(strong view))      cross-entropy
        weight = 1 if max q >= threshold else 0

    The paper divides by the number of unlabeled rows, confident or not: reduction ``mean``. The
    loss is therefore small while few rows are confident and needs no growing weight; its weight,
    lambda_u, is 1. (``weighted_mean`` divides by the number of confident rows.)

    Args:
        input_data: The loader of unlabeled images.
        weak: The view that pseudo-labels are made from.
        strong: The view that is learned from.
        threshold: The confidence needed, in [0, 1], or a part that maps probabilities (N, C) to
            weights (N,).
        targets: The part that maps logits (N, C) to targets (N, C), such as
            `parts.SharpenedTargets`; null is the paper's `parts.HardTargets`.
        network: The network that learns; it returns `logits` (N, C).
        teacher: The network that makes the pseudo-labels, such as ``teacher``; null is the paper's
            choice, `network` itself.

    Raises:
        ValueError: If the threshold is a number outside [0, 1].

    Example::

        regularization_loss_heads:
          fixmatch:
            head:
              _target_: sesemi_like.models.heads.loss.FixMatchLossHead
              threshold: 0.95
    """

    def __init__(
        self,
        input_data: str = "unlabeled",
        weak: str = "weak",
        strong: str = "strong",
        threshold: float | nn.Module = 0.95,
        targets: nn.Module | None = None,
        network: str = "classifier",
        teacher: str | None = None,
    ) -> None:
        super().__init__()
        self.input_data = input_data
        self.weak = weak
        self.strong = strong
        self.threshold = threshold_module(threshold)
        self.targets = targets or HardTargets()
        self.network = network
        self.teacher = teacher or network

    def forwards(self, fields: Fields) -> dict[str, Forward]:
        """Asks for the weak view without gradients, and for the confident strong ones with them."""
        weak = Forward(f"{self.input_data}.{self.weak}", self.teacher, grad=False)
        mask = Forward(weak, "self.mask", grad=False)
        strong = Forward(f"{self.input_data}.{self.strong}", self.network, rows=mask)
        return {"weak": weak, "mask": mask, "strong": strong}

    def mask(self, weak: Mapping[str, Any]) -> Tensor:
        """Weighs every row by the prediction on its weak view (N,); zero is left out."""
        weights: Tensor = self.threshold(weak["logits"].softmax(dim=1))
        return weights

    def forward(self, outputs: Mapping[str, Any], step: Step) -> LossOutputs:
        """Masked cross-entropy."""
        weak, strong = outputs["weak"]["logits"], outputs["strong"]["logits"]
        mask = outputs["mask"]
        losses = F.cross_entropy(strong, self.targets(weak), reduction="none")
        return LossOutputs(losses, mask)

    def metrics(self, outputs: Mapping[str, Any], losses: LossOutputs) -> Mapping[str, Tensor]:
        """Metrics `mask_rate`, the share of rows kept, and `confidence`."""
        assert losses.weights is not None
        return {"mask_rate": losses.weights.mean(), **confidence(outputs["weak"]["logits"])}
