"""The operations RandAugment draws from, each a function of images and one magnitude per image.

Images are float32 (N, C, H, W) in [0, 1], magnitudes float32 (N,). Those that move pixels return
maps for `warp`, so that many of them can be carried out at once. Results agree with Pillow's
ImageEnhance, ImageOps and Image.transform of 8-bit images up to rounding.

Shapes: N images, C channels, H height, W width; L = 256 levels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sesemi_like.views.draws import as_column, constant_like
from sesemi_like.views.warping import affine_matrices, identity_matrices

LEVELS = 256
# ITU-R BT.601 luma.
LUMINANCE = (0.299, 0.587, 0.114)


def luminance(images: Tensor) -> Tensor:
    """Computes the gray image (N, 1, H, W): luma of 3 channels, else the channels' mean."""
    if images.shape[1] != 3:
        return images.mean(dim=1, keepdim=True)
    weights = constant_like(LUMINANCE, images).reshape(1, 3, 1, 1)
    return (weights * images).sum(dim=1, keepdim=True)


def blend(degenerate: Tensor | float, images: Tensor, magnitudes: Tensor) -> Tensor:
    """Goes from a degenerate image (0) to the image (1) and beyond, cut off to [0, 1]."""
    factors = as_column(magnitudes)
    return (degenerate * (1 - factors) + images * factors).clamp(0, 1)


def identity(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Changes nothing; the magnitudes have no meaning."""
    return images


def brightness(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Blends with black: 0 is black, 1 the image."""
    return blend(0.0, images, magnitudes)


def color(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Blends with the gray image: 0 is gray, 1 the image. A single channel does not change."""
    return blend(luminance(images), images, magnitudes)


def contrast(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Blends with the mean gray: 0 is that gray, 1 the image."""
    return blend(luminance(images).mean(dim=(1, 2, 3), keepdim=True), images, magnitudes)


def sharpness(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Blends with a smoothed image: 0 is smoothed, 1 the image. The outermost pixels stay."""
    # The 3 x 3 kernel of ones with 5 in the middle, over 13.
    columns = images[..., :-2] + images[..., 1:-1] + images[..., 2:]
    ones = columns[..., :-2, :] + columns[..., 1:-1, :] + columns[..., 2:, :]
    smooth = images.clone()
    smooth[..., 1:-1, 1:-1] = (ones + 4 * images[..., 1:-1, 1:-1]) / 13
    return blend(smooth, images, magnitudes)


def autocontrast(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Stretches each channel to [0, 1]; a constant one stays. The magnitudes have no meaning."""
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    span = torch.where(high > low, high - low, 1)
    return torch.where(high > low, (images - low) / span, images)


def equalize(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Flattens the histogram of each channel's 8-bit levels. The magnitudes have no meaning.

    As in Pillow, level v becomes (pixels below v + step / 2) / step, with step the number of
    pixels, those of the brightest level aside, over 255; a channel whose step is 0 stays.
    """
    levels = eight_bit(images).flatten(2)
    counts = levels.new_zeros(*levels.shape[:2], LEVELS)
    counts.scatter_add_(2, levels, torch.ones_like(levels))
    brightest = counts.gather(2, levels.amax(dim=2, keepdim=True))
    step = (levels.shape[2] - brightest) // (LEVELS - 1)
    below = counts.cumsum(dim=2) - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp(max=LEVELS - 1)
    equalized = table.gather(2, levels).reshape(images.shape) / (LEVELS - 1)
    return torch.where(step[..., None] > 0, equalized, images)


def posterize(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Keeps the upper bits of each 8-bit level; magnitudes are numbers of bits, rounded."""
    dropped = as_column(2 ** (8 - magnitudes.round()))
    return (eight_bit(images) / dropped).floor() * dropped / (LEVELS - 1)


def solarize(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Inverts what is as bright as the magnitude, in [0, 1], or brighter."""
    return torch.where(images < as_column(magnitudes), images, 1 - images)


def rotate(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Maps for a turn counter-clockwise about the center by magnitudes in degrees: (N, 2, 3)."""
    zero = torch.zeros_like(magnitudes)
    return affine_matrices(images, -magnitudes, (zero, zero), zero + 1, zero)


def shear_x(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Maps for a shear along x: pixels to the left per row, the upper edge stays: (N, 2, 3)."""
    return identity_with(images, 0, 1, magnitudes)


def shear_y(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Maps for a shear along y: pixels up per column, the left edge stays: (N, 2, 3)."""
    return identity_with(images, 1, 0, magnitudes)


def translate_x(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Maps for a shift to the left by magnitudes as shares of the width: (N, 2, 3)."""
    return identity_with(images, 0, 2, magnitudes * images.shape[-1])


def translate_y(images: Tensor, magnitudes: Tensor) -> Tensor:
    """Maps for a shift up by magnitudes as shares of the height: (N, 2, 3)."""
    return identity_with(images, 1, 2, magnitudes * images.shape[-2])


def identity_with(images: Tensor, row: int, column: int, values: Tensor) -> Tensor:
    """Makes maps that change nothing but for one entry: (N, 2, 3), for `warp`."""
    matrices = identity_matrices(images)
    matrices[:, row, column] = values
    return matrices


def eight_bit(images: Tensor) -> Tensor:
    """Rounds images in [0, 1] to their 8-bit levels: int64, 0 to 255."""
    return (images * (LEVELS - 1)).round().clamp(0, LEVELS - 1).long()
