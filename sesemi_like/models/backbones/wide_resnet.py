"""Wide residual networks for small images (Zagoruyko & Komodakis 2016, arXiv 1605.07146)."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .base import Backbone


class _Block(nn.Module):
    """A pre-activation block: BN, ReLU, 3x3 convolution, twice, beside an identity or 1x1 path."""

    def __init__(self, channels: int, width: int, stride: int, drop_rate: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(drop_rate)
        changes = channels != width or stride != 1
        self.shortcut = nn.Conv2d(channels, width, 1, stride, bias=False) if changes else None

    def forward(self, inputs: Tensor) -> Tensor:
        active = F.relu(self.norm1(inputs), inplace=True)
        residual = self.dropout(F.relu(self.norm2(self.conv1(active)), inplace=True))
        path = inputs if self.shortcut is None else self.shortcut(active)
        result: Tensor = self.conv2(residual).add_(path)
        return result


class WideResNet(Backbone):
    """WRN-depth-widen_factor: three groups of pre-activation blocks of 16k, 32k and 64k channels.

    Convolutions are drawn from N(0, 2 / (k^2 * out channels)), as the paper's code does after He
    et al. 2015.

    Args:
        depth: 6n + 4 layers, n blocks a group.
        widen_factor: k.
        drop_rate: Dropout inside blocks, in [0, 1).
        in_chans: Channels of the images.
        freeze: Whether the backbone keeps its weights.

    Raises:
        ValueError: If `depth` is not 6n + 4.
    """

    def __init__(
        self,
        depth: int = 28,
        widen_factor: int = 2,
        drop_rate: float = 0.0,
        in_chans: int = 3,
        freeze: bool = False,
    ) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"depth: found {depth}; must be 6n + 4, such as 16, 28 or 40")
        blocks = (depth - 4) // 6
        self.stem = nn.Conv2d(in_chans, 16, 3, padding=1, bias=False)
        layers, channels = [], 16
        for group, width in enumerate(widen_factor * size for size in (16, 32, 64)):
            for block in range(blocks):
                stride = 2 if group and not block else 1
                layers.append(_Block(channels, width, stride, drop_rate))
                channels = width
        self.blocks = nn.Sequential(*layers)
        self.norm = nn.BatchNorm2d(channels)
        self.out_features = channels
        draw_convolutions(self)
        if freeze:
            self.freeze()

    def maps(self, images: Tensor) -> Tensor:
        """Maps images (N, C, H, W) to feature maps (N, 64k, H/4, W/4)."""
        return F.relu(self.norm(self.blocks(self.stem(images))), inplace=True)


def draw_convolutions(network: nn.Module) -> None:
    """Draws every convolution from N(0, 2 / fan-out) (He et al. 2015, arXiv 1502.01852)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def wrn_28_2(**settings: Any) -> WideResNet:
    """WRN-28-2, 1.5 million parameters; takes the settings of :class:`WideResNet`."""
    return WideResNet(28, 2, **settings)


def wrn_28_8(**settings: Any) -> WideResNet:
    """WRN-28-8, 23.4 million parameters; takes the settings of :class:`WideResNet`."""
    return WideResNet(28, 8, **settings)


def wrn_28_10(**settings: Any) -> WideResNet:
    """WRN-28-10, 36.5 million parameters; takes the settings of :class:`WideResNet`."""
    return WideResNet(28, 10, **settings)
