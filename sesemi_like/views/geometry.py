"""Views that move pixels and keep the images' size: shifted crops, flips, affine maps.

Shapes: N images, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sesemi_like.views.base import TensorView
from sesemi_like.views.checks import (
    INFINITE,
    check,
    height_and_width,
    interval,
    number,
    whole_number,
)
from sesemi_like.views.draws import applied, integers, moved_to, rand, uniform
from sesemi_like.views.moves import PixelMove, Places
from sesemi_like.views.warping import affine_matrices, warp


class RandomCrop(PixelMove):
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
        self.padding = whole_number("padding", padding, 0)
        check(mode in ("reflect", "constant"), "mode", mode, "reflect or constant")
        self.mode = mode
        self.size = None if size is None else height_and_width("size", size)
        self.leaves_gaps = mode == "constant" and self.padding > 0

    def places(self, source: Places, generator: torch.Generator | None) -> Places:
        """Draws a window of each image."""
        sides = source.rows.shape[1], source.columns.shape[1]
        size = self.size or sides
        self.check_sizes(sides, size)
        spare = [side + 2 * self.padding - kept for side, kept in zip(sides, size, strict=True)]
        tops = integers(source.rows, spare[0] + 1, generator) - self.padding
        lefts = integers(source.rows, spare[1] + 1, generator) - self.padding
        return Places(
            self.window(source.rows, tops, size[0]), self.window(source.columns, lefts, size[1])
        )

    def check_sizes(self, sides: tuple[int, int], size: tuple[int, int]) -> None:
        """Raises ValueError where images (H, W) are too small."""
        padded = [side + 2 * self.padding for side in sides]
        fits = self.mode == "constant" or self.padding < min(sides)
        expected = f"less than the images' side of {min(sides)} to reflect"
        check(fits, "padding", self.padding, expected)
        fits = size[0] <= padded[0] and size[1] <= padded[1]
        check(fits, "size", list(size), f"at most the padded {padded}")

    def window(self, source: Tensor, starts: Tensor, length: int) -> Tensor:
        """Takes `length` places of each row of `source` (N, L) from `starts` (N,) on: (N, length).

        Places before the first and after the last are mirrored, or -1.
        """
        last = source.shape[1] - 1
        wanted = starts[:, None] + torch.arange(length, device=source.device)
        mirrored = last - (last - wanted.abs()).abs()
        if self.mode == "reflect":
            return source.gather(1, mirrored)
        inside = (wanted >= 0) & (wanted <= last)
        return torch.where(inside, source.gather(1, wanted.clamp(0, last)), -1)


class HorizontalFlip(PixelMove):
    """Mirrors left and right.

    Args:
        p: Probability, in [0, 1].

    Raises:
        ValueError: `p` is out of range.
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = number("p", p, 0, 1)

    def alone(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Mirrors some of the images, touching no others."""
        if self.p == 1:
            return images.flip(-1)
        chosen = (rand((len(images),), generator) < self.p).nonzero()[:, 0]
        if images.device.type == "cpu":
            mirrored = images.clone()
            for row in chosen.tolist():
                mirrored[row] = images[row].flip(-1)
            return mirrored
        rows = moved_to(chosen, images)
        return images.index_copy(0, rows, images.index_select(0, rows).flip(-1))

    def places(self, source: Places, generator: torch.Generator | None) -> Places:
        """Mirrors some of the images."""
        mirrored = source.columns.flip(1)
        if self.p < 1:
            chosen = uniform(source.columns, 0, 1, generator) < self.p
            mirrored = torch.where(chosen[:, None], mirrored, source.columns)
        return Places(source.rows, mirrored)


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
        return applied(images, changed, self.p, generator)
