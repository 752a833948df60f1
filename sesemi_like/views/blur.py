"""Gaussian blur with a random width per image.

Shapes: N images, C channels, H height, W width, K taps of the kernel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sesemi_like.views.base import TensorView
from sesemi_like.views.checks import INFINITE, interval, number
from sesemi_like.views.draws import apply_to_some, as_column, uniform


class GaussianBlur(TensorView):
    """Blurs each image with a Gaussian whose width is drawn for it.

    The kernel reaches three of the largest standard deviations, or as far as the image can be
    mirrored at its edges.

    Args:
        sigma: Range of the standard deviation in pixels, above 0.
        p: Probability that an image is changed, in [0, 1].

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, sigma: Sequence[float] = (0.1, 2.0), p: float = 1.0) -> None:
        self.sigma = interval("sigma", sigma, 1e-3, INFINITE)
        self.p = number("p", p, 0, 1)

    def transform(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Blurs each image by its own draw."""
        sigmas = uniform(images, *self.sigma, generator)
        radius = min(math.ceil(3 * self.sigma[1]), min(images.shape[-2:]) - 1)
        return apply_to_some(images, gaussian_blur(images, sigmas, radius), self.p, generator)


def gaussian_blur(images: Tensor, sigmas: Tensor, radius: int) -> Tensor:
    """Blurs images, mirrored at their edges, with one separable Gaussian each.

    Args:
        images: float32 (N, C, H, W).
        sigmas: (N,) standard deviations in pixels.
        radius: Reach of the kernel in pixels, less than H and W.

    Returns:
        float32 (N, C, H, W).
    """
    offsets = torch.arange(-radius, radius + 1, device=images.device)
    weights = torch.softmax(-0.5 * (offsets / sigmas[:, None]) ** 2, dim=1)
    return blur_columns(blur_columns(images, weights).mT, weights).mT.contiguous()


def blur_columns(images: Tensor, weights: Tensor) -> Tensor:
    """Averages along the height with weights (N, K)."""
    height, radius = images.shape[-2], weights.shape[1] // 2
    padded = F.pad(images, [0, 0, radius, radius], mode="reflect")
    blurred = torch.zeros_like(images)
    for tap in range(weights.shape[1]):
        blurred += as_column(weights[:, tap]) * padded[..., tap : tap + height, :]
    return blurred
