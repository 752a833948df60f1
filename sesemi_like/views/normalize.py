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
from sesemi_like.views.draws import constant_like


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

    def transform(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Normalizes all images alike; draws nothing."""
        mean, std = (broadcast(name, getattr(self, name), images) for name in ("mean", "std"))
        return (images - mean) / std


def per_channel(name: str, value: Any) -> list[float]:
    """Returns a list of numbers, or raises ValueError."""
    values = list(value) if is_sequence(value) else [value]
    fits = len(values) > 0 and all(map(is_number, values))
    check(fits, name, value, "a number, or a list with one number per channel")
    return [float(number) for number in values]


def broadcast(name: str, values: list[float], images: Tensor) -> Tensor:
    """Shapes values to (C, 1, 1), or (1, 1, 1) for all channels, or raises ValueError."""
    channels = images.shape[1]
    fits = len(values) in (1, channels)
    check(fits, name, values, f"one number, or {channels} for images with {channels} channels")
    return constant_like(values, images).reshape(-1, 1, 1)
