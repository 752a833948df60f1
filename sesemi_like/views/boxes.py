"""Random rectangles inside images, one per image.

Shapes: N images, H height, W width; A attempts.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sesemi_like.views.draws import rand, to_device_of

ATTEMPTS = 10


class Boxes(NamedTuple):
    """Rectangles in pixels, each field float32 (N,), integers."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


def random_boxes(
    images: Tensor,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    generator: torch.Generator | None,
) -> Boxes:
    """Draws a rectangle inside each image (Inception's crop, arXiv:1409.4842, section 6).

    The area is uniform in `scale`, the aspect ratio log-uniform in `ratio`. The first of ten
    draws that fits is taken; when none fits, the first one is cut off at the image's sides.

    Args:
        images: (N, C, H, W).
        scale: Range of the area as a share of the image's, in (0, 1].
        ratio: Range of width / height.
        generator: Source of the draws.

    Returns:
        One rectangle per image, inside it and at least one pixel large.
    """
    limits = images.shape[-2], images.shape[-1]
    heights, widths = random_sides(images, scale, ratio, generator)
    fits = (heights <= limits[0]) & (widths <= limits[1])
    first = fits.int().argmax(dim=1, keepdim=True)
    height = heights.gather(1, first)[:, 0].clamp(1, limits[0])
    width = widths.gather(1, first)[:, 0].clamp(1, limits[1])
    position = to_device_of(rand((2, len(images)), generator, rows=1), images)
    top = (position[0] * (limits[0] - height + 1)).floor()
    left = (position[1] * (limits[1] - width + 1)).floor()
    return Boxes(top, left, height, width)


def random_sides(
    images: Tensor,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Draws heights and widths in whole pixels, each (N, A); they may exceed the image."""
    drawn = rand((2, len(images), ATTEMPTS), generator, rows=1)
    shares, levels = to_device_of(drawn, images)
    areas = (scale[0] + (scale[1] - scale[0]) * shares) * images.shape[-2] * images.shape[-1]
    ratios = ratio[0] * (ratio[1] / ratio[0]) ** levels
    return (areas / ratios).sqrt().round(), (areas * ratios).sqrt().round()


def fill_boxes(images: Tensor, boxes: Boxes, value: float | Tensor) -> Tensor:
    """Sets the pixels of one rectangle per image, which may reach beyond it, to a value.

    Args:
        images: (N, C, H, W).
        boxes: The rectangles.
        value: One number, or one for each channel (C, 1, 1).
    """
    rows = torch.arange(images.shape[-2], device=images.device)
    columns = torch.arange(images.shape[-1], device=images.device)
    in_rows = positions_inside(rows, boxes.top, boxes.height)
    in_columns = positions_inside(columns, boxes.left, boxes.width)
    inside = in_rows[:, None, :, None] & in_columns[:, None, None, :]
    if isinstance(value, Tensor):
        return torch.where(inside, value, images)
    return images.masked_fill(inside, value)


def positions_inside(positions: Tensor, start: Tensor, length: Tensor) -> Tensor:
    """Returns which positions (P,) lie in [start, start + length) of each image: bool (N, P)."""
    return (positions >= start[:, None]) & (positions < (start + length)[:, None])
