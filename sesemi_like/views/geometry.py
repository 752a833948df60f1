"""Views that move pixels and keep the images' size: shifted crops, flips, affine maps.

Shapes: N images, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sesemi_like.views.base import TensorView
from sesemi_like.views.checks import (
    INFINITE,
    check,
    height_and_width,
    integer,
    interval,
    number,
)
from sesemi_like.views.draws import apply_to_some, integers, uniform
from sesemi_like.views.warping import affine_matrices, warp


class RandomCrop(TensorView):
    """Pads each image and cuts out a window at a random position.

    Args:
        padding: Pixels added on each side.
        mode: reflect | constant (zeros): what the padding shows.
        size: Side of the window, or [height, width]; None keeps the images' size.

    Raises:
        ValueError: An argument is out of range; at a call, `reflect` is asked to pad by a whole
            side or more, or the window is larger than the padded image.
    """

    def __init__(
        self, padding: int = 4, mode: str = "reflect", size: int | Sequence[int] | None = None
    ) -> None:
        self.padding = integer("padding", padding, 0)
        check(mode in ("reflect", "constant"), "mode", mode, "reflect or constant")
        self.mode = mode
        self.size = None if size is None else height_and_width("size", size)

    def transform(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Cuts each image's window by its own draw."""
        sides = images.shape[-2], images.shape[-1]
        height, width = self.size or sides
        self.check_sizes(sides, (height, width))
        padded = F.pad(images, [self.padding] * 4, mode=self.mode)
        tops = integers(images, padded.shape[-2] - height + 1, generator)
        lefts = integers(images, padded.shape[-1] - width + 1, generator)
        return windows(padded, tops, lefts, height, width)

    def check_sizes(self, sides: tuple[int, int], size: tuple[int, int]) -> None:
        """Raises ValueError where images (H, W) are too small."""
        padded = [side + 2 * self.padding for side in sides]
        fits = self.mode == "constant" or self.padding < min(sides)
        expected = f"less than the images' side of {min(sides)} to reflect"
        check(fits, "padding", self.padding, expected)
        fits = size[0] <= padded[0] and size[1] <= padded[1]
        check(fits, "size", list(size), f"at most the padded {padded}")


def windows(images: Tensor, tops: Tensor, lefts: Tensor, height: int, width: int) -> Tensor:
    """Cuts a window out of each image.

    Args:
        images: (N, C, H, W) of any type.
        tops: int64 (N,), the first row of each window.
        lefts: int64 (N,), the first column.
        height: Rows of a window.
        width: Columns of a window.

    Returns:
        (N, C, height, width) of the same type.
    """
    rows = tops[:, None] + torch.arange(height, device=images.device)
    columns = lefts[:, None] + torch.arange(width, device=images.device)
    places = (rows[:, :, None] * images.shape[-1] + columns[:, None, :]).flatten(1)[:, None]
    pixels = images.flatten(2).gather(2, places.expand(-1, images.shape[1], -1))
    return pixels.reshape(*images.shape[:2], height, width)


class HorizontalFlip(TensorView):
    """Mirrors left and right.

    Args:
        p: Probability, in [0, 1].

    Raises:
        ValueError: `p` is out of range.
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = number("p", p, 0, 1)

    def transform(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Mirrors some of the images."""
        return apply_to_some(images, images.flip(-1), self.p, generator)


class RandomAffine(TensorView):
    """Turns, shifts, scales and shears each image about its center, bilinearly.

    Args:
        degrees: Turns are uniform in [-degrees, degrees].
        translate: Shifts along each axis are uniform in [-translate, translate] of the side.
        shear: Shears along x are uniform in [-shear, shear] degrees, below 90.
        scale: Range of the scale factor, above 0.
        padding_mode: zeros | border | reflection: what lies outside the image.
        p: Probability that an image is changed, in [0, 1].

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        degrees: float = 0.0,
        translate: float = 0.0,
        shear: float = 0.0,
        scale: Sequence[float] = (1.0, 1.0),
        padding_mode: str = "zeros",
        p: float = 1.0,
    ) -> None:
        self.degrees = number("degrees", degrees, 0, 360)
        self.translate = number("translate", translate, 0, 1)
        self.shear = number("shear", shear, 0, 89)
        self.scale = interval("scale", scale, 1e-3, INFINITE)
        modes = ("zeros", "border", "reflection")
        check(padding_mode in modes, "padding_mode", padding_mode, "zeros, border or reflection")
        self.padding_mode = padding_mode
        self.p = number("p", p, 0, 1)

    def transform(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Maps each image by its own draw."""
        degrees = uniform(images, -self.degrees, self.degrees, generator)
        right = uniform(images, -self.translate, self.translate, generator) * images.shape[-1]
        down = uniform(images, -self.translate, self.translate, generator) * images.shape[-2]
        scales = uniform(images, *self.scale, generator)
        shears = uniform(images, -self.shear, self.shear, generator)
        matrices = affine_matrices(images, degrees, (right, down), scales, shears)
        changed = warp(images, matrices, interpolation="bilinear", padding_mode=self.padding_mode)
        return apply_to_some(images, changed, self.p, generator)
