"""The strong view that semi-supervised results are published with, as TorchSSL and USB make it.

Source: semilearn 0.3.2, datasets/augmentation/randaugment.py. Shapes: N images, C channels of H x W
pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sesemi_like.views import operations as ops
from sesemi_like.views.base import Compose, TensorView, View
from sesemi_like.views.boxes import Boxes, fill_boxes
from sesemi_like.views.checks import number
from sesemi_like.views.draws import constant_like, uniform
from sesemi_like.views.rand_augment import Operation, RandAugment, fixmatch_pool, operations_named
from sesemi_like.views.recipes import crop_and_flip, normalization

COLOR = (125 / 255, 123 / 255, 114 / 255)
"""What the square is filled with."""


def usb_pool() -> dict[str, Operation]:
    """Lists FixMatch's 14 operations with the ranges of the code, for levels of 8 bits.

    Bits are cut off to a whole number, so that 4 to 7 of them are kept, and what is as bright as a
    number of [0, 256) is inverted.
    """
    pool = fixmatch_pool()
    solarize = replace(pool["solarize"], high=256 / 255)
    return {**pool, "posterize": Operation(_posterize, 4, 8), "solarize": solarize}


def _posterize(images: Tensor, magnitudes: Tensor) -> Tensor:
    return ops.posterize(images, magnitudes.floor())


class USBCutout(TensorView):
    """Fills a square of random side, as `CutoutAbs` of the code draws it with Pillow.

    The side v is drawn from U(0, largest) times the width, the center from the whole image. A
    square that would begin before the image begins at its edge, in full; one that would end behind
    it is cut off. Pillow's rectangles include their last pixel.

    Args:
        largest: The largest side as a share of the image's width, in [0, 1].
        color: One number in [0, 1] for each of three channels; other images get their mean.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, largest: float = 0.5, color: Sequence[float] = COLOR) -> None:
        self.largest = number("largest", largest, 0, 1)
        self.color = tuple(number("color", value, 0, 1) for value in color)

    def transform(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Hides a square of each image."""
        height, width = images.shape[-2:]
        sides = uniform(images, 0, self.largest * width, generator)
        lefts = uniform(images, 0, width, generator)
        tops = uniform(images, 0, height, generator)
        return fill_boxes(images, boxes_of(sides, tops, lefts, height, width), self._fill(images))

    def _fill(self, images: Tensor) -> Tensor:
        is_rgb = images.shape[1] == len(self.color)
        mean = sum(self.color) / len(self.color)
        return constant_like(self.color if is_rgb else [mean], images)[:, None, None]


def boxes_of(sides: Tensor, tops: Tensor, lefts: Tensor, height: int, width: int) -> Boxes:
    """The pixels that Pillow fills for squares about centers.

    Args:
        sides: The squares' sides (N,).
        tops: The centers' rows (N,), in [0, height).
        lefts: Their columns (N,), in [0, width).
        height: Of the images.
        width: Of the images.
    """
    first_row, last_row = _range(tops, sides, height)
    first_column, last_column = _range(lefts, sides, width)
    # Nothing is hidden by a square without a side.
    is_there = (sides > 0).to(sides)
    heights, widths = last_row - first_row + 1, last_column - first_column + 1
    return Boxes(first_row, first_column, heights * is_there, widths * is_there)


def _range(centers: Tensor, sides: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """The first and the last pixel along one axis, each (N,)."""
    first = (centers - sides / 2).clamp(min=0).floor()
    return first, (first + sides).clamp(max=limit).floor()


def usb_strong(
    size: int | None = None,
    padding: int = 4,
    flip: bool = True,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    num_ops: int = 3,
    operations: Sequence[str] | None = None,
    largest_cutout: float = 0.5,
) -> Compose:
    """Makes the published strong view: crop, flip, three operations, a square, normalization.

    It differs from :func:`strong` in the number of operations (as `RandAugment(3, 5)`, whose 5 has
    no meaning), in uncovered pixels, which are black, and in the square, see :class:`USBCutout`.

    Args:
        size: Side of the square result; the shorter side is resized to it first. None keeps the
            images' size.
        padding: Largest shift in pixels; the edges are mirrored.
        flip: Mirrors left and right with probability 0.5; the published runs on SVHN do, too.
        mean: One number, or one per channel; None with `std` None leaves out the normalization.
        std: One number, or one per channel.
        num_ops: Operations drawn for each image, with replacement.
        operations: Names of the operations to draw from; None takes all 14.
        largest_cutout: The largest side of the square as a share of the width; 0 leaves it out.

    Returns:
        A view to one float32 tensor.

    Raises:
        ValueError: An argument is out of range, or only one of `mean` and `std` is given.
    """
    augment = RandAugment(num_ops, fill=0.0, cutout_size=0.0)
    augment.pool = operations_named(operations, usb_pool())
    steps: list[View] = [*crop_and_flip(size, padding, flip), augment]
    if number("largest_cutout", largest_cutout, 0, 1):
        steps.append(USBCutout(largest_cutout))
    return Compose([*steps, *normalization(mean, std)])
