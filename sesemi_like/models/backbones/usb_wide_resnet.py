"""The wide residual networks that semi-supervised results are published with, to the letter.

Shapes: N images, C channels of H x W pixels, k the widening factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .base import Backbone
from .wide_resnet import draw_convolutions


@dataclass(frozen=True)
class _Layers:
    """What the layers of a network have in common."""

    slope: float
    momentum: float
    eps: float
    conv_bias: bool
    drop_rate: float

    def norm(self, channels: int) -> nn.BatchNorm2d:
        return nn.BatchNorm2d(channels, self.eps, self.momentum)

    def convolution(self, channels: int, width: int, size: int, stride: int = 1) -> nn.Conv2d:
        return nn.Conv2d(channels, width, size, stride, padding=size // 2, bias=self.conv_bias)


class _Block(nn.Module):
    """BatchNorm, activation and 3x3 convolution, twice, beside an identity or 1x1 path.

    Args:
        channels: Channels of the input.
        width: Channels of the output.
        stride: Of the first convolution.
        active: Which paths read the activated input: ``residual``, ``both`` or ``none``.
        layers: What its layers have in common with those of other blocks.
    """

    def __init__(
        self, channels: int, width: int, stride: int, active: str, layers: _Layers
    ) -> None:
        super().__init__()
        self.active, self.slope, self.drop_rate = active, layers.slope, layers.drop_rate
        self.bn1 = None if active == "none" else layers.norm(channels)
        self.conv1 = layers.convolution(channels, width, 3, stride)
        self.bn2 = layers.norm(width)
        self.conv2 = layers.convolution(width, width, 3)
        changes = channels != width or stride != 1
        self.convShortcut = layers.convolution(channels, width, 1, stride) if changes else None

    def forward(self, inputs: Tensor) -> Tensor:
        read = inputs if self.bn1 is None else self._activate(self.bn1(inputs))
        beside = read if self.active == "both" else inputs
        hidden = self._activate(self.bn2(self.conv1(read)))
        residual = self.conv2(F.dropout(hidden, self.drop_rate, self.training))
        path = beside if self.convShortcut is None else self.convShortcut(beside)
        result: Tensor = path + residual
        return result

    def _activate(self, maps: Tensor) -> Tensor:
        return F.leaky_relu(maps, self.slope, inplace=True)


class _Group(nn.Module):
    """Blocks of one width, under the name that they have in semilearn."""

    def __init__(self, blocks: list[_Block]) -> None:
        super().__init__()
        self.layer = nn.Sequential(*blocks)

    def forward(self, maps: Tensor) -> Tensor:
        result: Tensor = self.layer(maps)
        return result


class USBWideResNet(Backbone):
    """WRN-depth-k as TorchSSL and USB have it (arXiv 2110.08263, 2208.07204; semilearn 0.3.2).

    It differs from :class:`WideResNet` in what published figures may depend on: leaky slope 0.1;
    BatchNorm whose statistics move by 0.001; a stem with a bias. Of the first blocks of the groups,
    that of the first alone activates its input, before both paths; those of the others convolve
    their *bare* input. The published code computes a BatchNorm there that it discards, which is
    left out here. Layers are named as there: the weights of its `wrn_28_2`, `wrn_28_8` and
    `wrn_var_37_2` fit, but for those layers and the classifier, a head of its own here.

    Convolutions are drawn from N(0, 2 / (kernel^2 * out channels)). The published classifier is
    `LinearHead` with ``init: xavier``.

    Args:
        depth: 6n + 4, n blocks a group.
        widen_factor: k.
        groups: How many groups there are, of 16k, 32k, 64k, 128k, ... channels.
        first_stride: The stride of the first group; that of the others is 2.
        first_blocks: What the first block convolves in the groups after the first: ``bare``, or
            ``active``, the activated input (google-research/fixmatch).
        stem_bias: Whether the stem has a bias.
        conv_bias: Whether the other convolutions have one (google-research/fixmatch, TorchSSL).
        negative_slope: Of the leaky activations.
        norm_momentum: How far running statistics move, in [0, 1].
        norm_eps: BatchNorm's eps in blocks (google-research/fixmatch, TorchSSL: 1e-3).
        last_norm_eps: That of the last one.
        drop_rate: Dropout inside blocks, in [0, 1).
        in_chans: Channels of the images.
        freeze: Whether the backbone keeps its weights.

    Raises:
        ValueError: If `depth` is not 6n + 4, `groups` is below 1, or `first_blocks` is neither.
    """

    def __init__(
        self,
        depth: int = 28,
        widen_factor: int = 2,
        groups: int = 3,
        first_stride: int = 1,
        first_blocks: str = "bare",
        stem_bias: bool = True,
        conv_bias: bool = False,
        negative_slope: float = 0.1,
        norm_momentum: float = 0.001,
        norm_eps: float = 1e-5,
        last_norm_eps: float = 1e-3,
        drop_rate: float = 0.0,
        in_chans: int = 3,
        freeze: bool = False,
    ) -> None:
        super().__init__()
        _check(depth, groups, first_blocks)
        layers = _Layers(negative_slope, norm_momentum, norm_eps, conv_bias, drop_rate)
        others = "none" if first_blocks == "bare" else "residual"
        self.conv1 = nn.Conv2d(in_chans, 16, 3, padding=1, bias=stem_bias)
        channels, self._groups = 16, [f"block{number + 1}" for number in range(groups)]
        for number, name in enumerate(self._groups):
            width, stride = 16 * 2**number * widen_factor, 2 if number else first_stride
            is_changed = channels != width or stride != 1
            active = "residual" if not is_changed else others if number else "both"
            blocks = [_Block(channels, width, stride, active, layers)]
            blocks += [
                _Block(width, width, 1, "residual", layers) for _ in range((depth - 10) // 6)
            ]
            self.add_module(name, _Group(blocks))
            channels = width
        self.bn1 = nn.BatchNorm2d(channels, last_norm_eps, norm_momentum)
        self.slope, self.out_features = negative_slope, channels
        draw_convolutions(self)
        if freeze:
            self.freeze()

    def maps(self, images: Tensor) -> Tensor:
        """Maps images (N, C, H, W) to feature maps (N, D, H', W'), D channels of the last group."""
        maps = self.conv1(images)
        for name in self._groups:
            maps = self.get_submodule(name)(maps)
        return F.leaky_relu(self.bn1(maps), self.slope, inplace=True)


def _check(depth: int, groups: int, first_blocks: str) -> None:
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"depth: found {depth}; must be 6n + 4, such as 16, 28 or 40")
    if groups < 1:
        raise ValueError(f"groups: found {groups}; must be at least 1")
    if first_blocks not in ("bare", "active"):
        raise ValueError(f"first_blocks: found {first_blocks!r}; must be bare or active")


def wrn_28_2_usb(**settings: Any) -> USBWideResNet:
    """WRN-28-2 as published for CIFAR and SVHN; takes the settings of :class:`USBWideResNet`."""
    return USBWideResNet(28, 2, **settings)


def wrn_28_8_usb(**settings: Any) -> USBWideResNet:
    """WRN-28-8, TorchSSL's for CIFAR-100; takes the settings of :class:`USBWideResNet`."""
    return USBWideResNet(28, 8, **settings)


def wrn_37_2_usb(**settings: Any) -> USBWideResNet:
    """WRN-37-2, published for STL-10: a fourth group, and every group halves the size.

    Takes the settings of :class:`USBWideResNet`.
    """
    return USBWideResNet(28, 2, **{"groups": 4, "first_stride": 2, **settings})
