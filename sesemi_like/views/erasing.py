"""Views that hide a part of each image.

Shapes: N images, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sesemi_like.views.base import TensorView
from sesemi_like.views.boxes import Boxes, fill_boxes, random_boxes
from sesemi_like.views.checks import INFINITE, interval, number
from sesemi_like.views.draws import apply_to_some, integers


class Erasing(TensorView):
    """Fills a random rectangle (random erasing, arXiv:1708.04896, algorithm 1).

    Args:
        p: Probability that an image is changed, in [0, 1].
        scale: Range of the rectangle's share of the image's area, in (0, 1].
        ratio: Range of the rectangle's width / height, above 0.
        value: What it is filled with.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: float = 0.0,
    ) -> None:
        self.p = number("p", p, 0, 1)
        self.scale = interval("scale", scale, 1e-4, 1)
        self.ratio = interval("ratio", ratio, 1e-4, 1e4)
        self.value = number("value", value, -INFINITE, INFINITE)

    def transform(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Hides a rectangle of some of the images."""
        boxes = random_boxes(images, self.scale, self.ratio, generator)
        return apply_to_some(images, fill_boxes(images, boxes, self.value), self.p, generator)


class Cutout(TensorView):
    """Fills a square whose center is any pixel (arXiv:1708.04552, section 3.2).

    The square may reach beyond the image, so the part that is hidden varies in size.

    Args:
        size: Side of the square as a share of the image's shorter side, in [0, 1].
        value: What it is filled with; 0.5 is gray before normalization.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, size: float = 0.5, value: float = 0.5) -> None:
        self.size = number("size", size, 0, 1)
        self.value = number("value", value, -INFINITE, INFINITE)

    def transform(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Hides a square of each image."""
        height, width = images.shape[-2:]
        side = round(self.size * min(height, width))
        tops = integers(images, height, generator) - side // 2
        lefts = integers(images, width, generator) - side // 2
        sides = torch.full_like(tops, side)
        return fill_boxes(images, Boxes(tops, lefts, sides, sides), self.value)
