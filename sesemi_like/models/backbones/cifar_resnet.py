"""Residual networks for 32x32 images (He et al. 2015, arXiv 1512.03385, section 4.2)."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .base import Backbone
from .wide_resnet import draw_convolutions


class _Block(nn.Module):
    """Two 3x3 convolutions beside option A's shortcut: subsampling, and zeros for new channels."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.stride = stride
        self.new_channels = width - channels

    def forward(self, inputs: Tensor) -> Tensor:
        residual = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(inputs)))))
        path = inputs[:, :, :: self.stride, :: self.stride]
        return F.relu(residual + F.pad(path, (0, 0, 0, 0, 0, self.new_channels)))


class CIFARResNet(Backbone):
    """Three groups of blocks of 16, 32 and 64 channels.

    Args:
        depth: 6n + 2 layers, n blocks a group: 20, 32, 44, 56 or 110 in the paper.
        in_chans: Channels of the images.
        freeze: Whether the backbone keeps its weights.

    Raises:
        ValueError: If `depth` is not 6n + 2.
    """

    def __init__(self, depth: int = 20, in_chans: int = 3, freeze: bool = False) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth: found {depth}; must be 6n + 2, such as 20, 32 or 56")
        self.stem = nn.Conv2d(in_chans, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        layers, channels = [], 16
        for group, width in enumerate((16, 32, 64)):
            for block in range((depth - 2) // 6):
                layers.append(_Block(channels, width, stride=2 if group and not block else 1))
                channels = width
        self.blocks = nn.Sequential(*layers)
        self.out_features = channels
        draw_convolutions(self)
        if freeze:
            self.freeze()

    def maps(self, images: Tensor) -> Tensor:
        """Maps images (N, C, H, W) to feature maps (N, 64, H/4, W/4)."""
        maps: Tensor = self.blocks(F.relu(self.norm(self.stem(images))))
        return maps


def cifar_resnet20(**settings: Any) -> CIFARResNet:
    """ResNet-20, 0.27 million parameters; takes the settings of :class:`CIFARResNet`."""
    return CIFARResNet(20, **settings)


def cifar_resnet56(**settings: Any) -> CIFARResNet:
    """ResNet-56, 0.85 million parameters; takes the settings of :class:`CIFARResNet`."""
    return CIFARResNet(56, **settings)
