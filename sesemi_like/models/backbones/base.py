"""What every backbone is: images in, features of a known size out, and frozen when asked."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Backbone(nn.Module):
    """Maps images (N, C, H, W) to features (N, D).

    Attributes:
        out_features: D.
    """

    out_features: int

    def __init__(self) -> None:
        super().__init__()
        self.is_frozen = False

    def freeze(self) -> None:
        """Stops learning for good: no gradients, and BatchNorm and dropout as in evaluation."""
        self.is_frozen = True
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Backbone:
        """Sets the mode; a frozen backbone stays in evaluation mode."""
        return super().train(mode and not self.is_frozen)

    def forward(self, images: Tensor) -> Tensor:
        """Maps images (N, C, H, W) to features (N, D)."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")


def global_average(features: Tensor) -> Tensor:
    """Averages feature maps (N, D, H, W) over their pixels to (N, D)."""
    return torch.mean(features, dim=(2, 3))
