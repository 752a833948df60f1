"""Views that change colors and brightness pixel by pixel.

Images are taken to be in [0, 1] and stay there: normalize afterwards.

Shapes: N images, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sesemi_like.views.base import TensorView
from sesemi_like.views.checks import INFINITE, check, interval, number
from sesemi_like.views.draws import apply_to_some, as_column, uniform
from sesemi_like.views.operations import brightness, color, contrast, luminance


class ColorJitter(TensorView):
    """Changes brightness, contrast, saturation and hue, in this order.

    Factors are uniform in [max(0, 1 - x), 1 + x], the shift of the hue in [-hue, hue] turns of
    the color circle.

    Args:
        brightness: Spread x of the brightness factor, at least 0.
        contrast: Spread of the contrast factor.
        saturation: Spread of the saturation factor.
        hue: Largest shift of the hue, in [0, 0.5]; a single channel has no hue and keeps it.
        p: Probability that an image is changed, in [0, 1].

    Raises:
        ValueError: An argument is out of range; at a call, a hue is to be shifted and the images
            have neither 1 nor 3 channels.
    """

    def __init__(
        self,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
        p: float = 1.0,
    ) -> None:
        self.brightness = factor_range("brightness", brightness)
        self.contrast = factor_range("contrast", contrast)
        self.saturation = factor_range("saturation", saturation)
        self.hue = number("hue", hue, 0, 0.5)
        self.p = number("p", p, 0, 1)

    def transform(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Changes each image by its own draw."""
        changed = brightness(images, uniform(images, *self.brightness, generator))
        changed = contrast(changed, uniform(images, *self.contrast, generator))
        changed = color(changed, uniform(images, *self.saturation, generator))
        if self.hue:
            changed = shift_hue(changed, uniform(images, -self.hue, self.hue, generator))
        return apply_to_some(images, changed, self.p, generator)


def factor_range(name: str, spread: float) -> tuple[float, float]:
    """Returns the range of a factor around 1."""
    spread = number(name, spread, 0, INFINITE)
    return max(0.0, 1 - spread), 1 + spread


def shift_hue(images: Tensor, shifts: Tensor) -> Tensor:
    """Turns the hue of the HSV colors.

    Args:
        images: (N, 3, H, W) in [0, 1]; (N, 1, H, W) is returned unchanged.
        shifts: (N,) in turns of the color circle.

    Returns:
        (N, C, H, W) in [0, 1].

    Raises:
        ValueError: There are neither 1 nor 3 channels.
    """
    channels = images.shape[1]
    check(channels in (1, 3), "images", f"{channels} channels", "1 or 3 to shift the hue")
    if channels == 1:
        return images
    value = images.amax(dim=1, keepdim=True)
    chroma = value - images.amin(dim=1, keepdim=True)
    sixths = 6 * as_column(shifts) + hue_sixths(images, value, chroma)
    # Red, green and blue are the same function of the hue, a third of a turn apart.
    starts = torch.arange(5, 0, -2, device=images.device).reshape(1, 3, 1, 1)
    position = (starts + sixths) % 6
    return value - chroma * torch.minimum(position, 4 - position).clamp(0, 1)


def hue_sixths(images: Tensor, value: Tensor, chroma: Tensor) -> Tensor:
    """Computes the hue in sixths of a turn (N, 1, H, W); gray counts as red."""
    red, green, blue = images.split(1, dim=1)
    span = torch.where(chroma > 0, chroma, 1)
    from_green = torch.where(value == green, 2 + (blue - red) / span, 4 + (red - green) / span)
    return torch.where(value == red, (green - blue) / span, from_green)


class Grayscale(TensorView):
    """Removes the color and keeps the number of channels.

    Args:
        p: Probability, in [0, 1].

    Raises:
        ValueError: `p` is out of range.
    """

    def __init__(self, p: float = 0.2) -> None:
        self.p = number("p", p, 0, 1)

    def transform(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Makes some of the images gray."""
        return apply_to_some(images, luminance(images).expand_as(images), self.p, generator)


class Gamma(TensorView):
    """Raises pixels to a random power: below 1 brightens, above 1 darkens.

    Args:
        gamma: Range of the power, above 0.
        p: Probability that an image is changed, in [0, 1].

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, gamma: Sequence[float] = (0.5, 1.5), p: float = 1.0) -> None:
        self.gamma = interval("gamma", gamma, 1e-3, INFINITE)
        self.p = number("p", p, 0, 1)

    def transform(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Changes each image by its own draw."""
        powers = as_column(uniform(images, *self.gamma, generator))
        return apply_to_some(images, images.clamp(0, 1) ** powers, self.p, generator)
