"""Normalization by a mean and a standard deviation.

Shapes: N images, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sesemi_like.views.base import TensorView
from sesemi_like.views.checks import check, is_number, is_sequence
from sesemi_like.views.draws import constant
from sesemi_like.views.images import check_images


class Normalize(TensorView):
    """Subtracts the mean and divides by the standard deviation.

    Args:
        mean: One number, or one per channel.
        std: One number, or one per channel, above 0.

    Raises:
        ValueError: An argument is no number, or a standard deviation not above 0; at a call, the
            lists are not as long as there are channels.
    """

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        self.mean = per_channel("mean", mean)
        self.std = per_channel("std", std)
        check(min(self.std) > 0, "std", std, "numbers above 0")

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Makes the view; uint8 images are scaled and normalized in one go."""
        levels = 255 if check_images(images).dtype == torch.uint8 else 1
        given, images = images, images.float()
        mean, std = (shaped(name, getattr(self, name), images) for name in ("mean", "std"))
        out = None if images is given else images
        return scaled(images, 1 / (levels * std), -mean / std, out)

    def transform(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Normalizes all images alike; draws nothing."""
        return self(images)


def scaled(images: Tensor, factors: Tensor, offsets: Tensor, out: Tensor | None) -> Tensor:
    """Computes images * factors + offsets, each factor and offset (C, 1, 1) or (1, 1, 1).

    The result is written to `out`, which is `images` itself, or to new memory for None.
    """
    count, channels, height, width = images.shape
    is_channels_last = images.is_contiguous(memory_format=torch.channels_last)
    if channels == 1 or not is_channels_last:
        return torch.addcmul(offsets, images, factors, out=out)
    # Rows of pixels with their channels: long vectors, where three numbers at a time are slow.
    rows = images.permute(0, 2, 3, 1).reshape(count, height, width * channels)
    pair = (v.expand(channels, 1, 1).flatten().repeat(width) for v in (factors, offsets))
    factors, offsets = pair
    result = torch.addcmul(offsets, rows, factors, out=None if out is None else rows)
    return result.reshape(count, height, width, channels).permute(0, 3, 1, 2)


def per_channel(name: str, value: Any) -> list[float]:
    """Returns a list of numbers, or raises ValueError."""
    values = list(value) if is_sequence(value) else [value]
    fits = len(values) > 0 and all(map(is_number, values))
    check(fits, name, value, "a number, or a list with one number per channel")
    return [float(number) for number in values]


def shaped(name: str, values: list[float], images: Tensor) -> Tensor:
    """Returns the values as (C, 1, 1), or (1, 1, 1) for all channels, or raises ValueError."""
    channels = images.shape[1]
    fits = len(values) in (1, channels)
    check(fits, name, values, f"one number, or {channels} for images with {channels} channels")
    return constant(values, images).reshape(-1, 1, 1)
