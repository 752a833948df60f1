"""Affine maps of images, one per image, in Pillow's convention.

A matrix (2, 3) maps a pixel center of the output, (x + 0.5, y + 0.5, 1), to the point of the
input it is taken from. Points are in pixels, x to the right, y down; the input covers
[0, W] x [0, H].

Shapes: N images, C channels, H height, W width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def warp(
    images: Tensor,
    matrices: Tensor,
    *,
    interpolation: str = "nearest",
    padding_mode: str = "zeros",
    fill: float = 0.0,
) -> Tensor:
    """Applies one affine map per image.

    Args:
        images: float32 (N, C, H, W).
        matrices: float32 (N, 2, 3), output pixels to input points.
        interpolation: nearest | bilinear.
        padding_mode: zeros | border | reflection: what lies outside the input.
        fill: With `zeros`, the value outside.

    Returns:
        float32 (N, C, H, W).
    """
    columns = torch.arange(images.shape[-1], device=images.device) + 0.5
    rows = (torch.arange(images.shape[-2], device=images.device) + 0.5)[:, None]
    # Written out, because a matrix product may run in reduced precision on a GPU and would then
    # misplace pixels.
    a, b, c, d, e, f = matrices.flatten(1).T[..., None, None]
    horizontal, vertical = a * columns + b * rows + c, d * columns + e * rows + f
    return sample_at(images - fill, horizontal, vertical, interpolation, padding_mode) + fill


def sample_at(
    images: Tensor,
    horizontal: Tensor,
    vertical: Tensor,
    interpolation: str = "bilinear",
    padding_mode: str = "border",
) -> Tensor:
    """Reads images (N, C, H, W) at points in pixels, each (N, h, w): float32 (N, C, h, w)."""
    height, width = images.shape[-2:]
    grid = torch.stack([horizontal * (2 / width) - 1, vertical * (2 / height) - 1], dim=-1)
    return F.grid_sample(
        images, grid, mode=interpolation, padding_mode=padding_mode, align_corners=False
    )


def identity_matrices(images: Tensor) -> Tensor:
    """Makes the maps that change nothing: float32 (N, 2, 3)."""
    return torch.eye(2, 3, device=images.device).repeat(len(images), 1, 1)


def affine_matrices(
    images: Tensor,
    degrees: Tensor,
    shifts: tuple[Tensor, Tensor],
    scales: Tensor,
    shears: Tensor,
) -> Tensor:
    """Makes maps that shear, turn and scale about the center, then shift.

    With R a clockwise turn, s the scale, K = [[1, -tan(shear)], [0, 1]] and m the center, an
    input point p goes to s R K (p - m) + m + shift; the matrices hold the inverse of that.

    Args:
        images: (N, C, H, W), for their size.
        degrees: (N,) clockwise turn.
        shifts: (N,) pixels to the right and (N,) pixels down.
        scales: (N,) factors, above 0.
        shears: (N,) degrees of a shear along x.

    Returns:
        float32 (N, 2, 3), output pixels to input points.
    """
    angle, slope = degrees.deg2rad(), shears.deg2rad().tan()
    sine, cosine = angle.sin() / scales, angle.cos() / scales
    first = torch.stack([cosine - slope * sine, sine + slope * cosine], dim=1)
    linear = torch.stack([first, torch.stack([-sine, cosine], dim=1)], dim=1)
    return keep_center(images, linear, shifts)


def keep_center(images: Tensor, linear: Tensor, shifts: tuple[Tensor, Tensor]) -> Tensor:
    """Completes linear maps (N, 2, 2), output to input, so that the shifted center is kept."""
    center_x, center_y = images.shape[-1] / 2, images.shape[-2] / 2
    shifted_x, shifted_y = center_x + shifts[0], center_y + shifts[1]
    offset_x = center_x - linear[:, 0, 0] * shifted_x - linear[:, 0, 1] * shifted_y
    offset_y = center_y - linear[:, 1, 0] * shifted_x - linear[:, 1, 1] * shifted_y
    return torch.cat([linear, torch.stack([offset_x, offset_y], dim=1)[..., None]], dim=2)
