"""A small convolutional network for images of 8 to 64 pixels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from .base import Backbone


class SmallConvNet(Backbone):
    """Stages of two 3x3 convolutions with BatchNorm and ReLU, halved in size between stages.

    Weights are drawn as in He et al. 2015 (arXiv 1502.01852), fan-out.

    Args:
        in_chans: Channels of the images.
        widths: Channels of each stage; the last is the feature size D.
        drop_rate: Dropout on the features, in [0, 1).
        freeze: Whether the backbone keeps its weights.

    Raises:
        ValueError: If there is no stage, or one without channels.
    """

    def __init__(
        self,
        in_chans: int = 1,
        widths: Sequence[int] = (32, 64, 128),
        drop_rate: float = 0.0,
        freeze: bool = False,
    ) -> None:
        super().__init__()
        if not widths or min(widths) < 1:
            raise ValueError(f"widths: found {list(widths)}; must be one or more positive numbers")
        layers: list[nn.Module] = []
        channels = in_chans
        for stage, width in enumerate(widths):
            layers += [nn.MaxPool2d(2)] if stage else []
            layers += [*_convolution(channels, width), *_convolution(width, width)]
            channels = width
        self.layers = nn.Sequential(*layers)
        self.dropout = nn.Dropout(drop_rate)
        self.out_features = channels
        if freeze:
            self.freeze()

    def maps(self, images: Tensor) -> Tensor:
        """Maps images (N, C, H, W) to feature maps (N, D, H', W')."""
        maps: Tensor = self.layers(images)
        return maps

    def pool(self, maps: Tensor) -> Tensor:
        """Averages the maps and drops some of the averages."""
        features: Tensor = self.dropout(super().pool(maps))
        return features


def _convolution(in_channels: int, out_channels: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)
