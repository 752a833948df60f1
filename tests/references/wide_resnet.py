"""The wide residual network of semilearn as a function of its weights, from its description.

Sources: TorchSSL (arXiv 2110.08263) and USB (arXiv 2208.07204), appendix; semilearn 0.3.2.
Shapes: N images, C channels of H x W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor


def features(
    images: Tensor, weights: Mapping[str, Tensor], groups: int, first_stride: int
) -> Tensor:
    """The features of images in training mode.

    Args:
        images: (N, C, H, W).
        weights: The parameters by semilearn's names.
        groups: How many groups of blocks there are.
        first_stride: The stride of the first.

    Returns:
        (N, D).
    """
    maps = F.conv2d(images, weights["conv1.weight"], weights["conv1.bias"], padding=1)
    for group in range(1, groups + 1):
        block = 0
        while f"block{group}.layer.{block}.conv1.weight" in weights:
            name = f"block{group}.layer.{block}."
            own = {k.removeprefix(name): v for k, v in weights.items() if k.startswith(name)}
            stride = 1 if block else 2 if group > 1 else first_stride
            maps = _block(maps, own, stride, is_first=block == 0, group=group)
            block += 1
    return _activated(maps, weights, "bn1", 1e-3).mean(dim=(2, 3))


def _block(
    maps: Tensor, weights: Mapping[str, Tensor], stride: int, *, is_first: bool, group: int
) -> Tensor:
    read = maps if is_first and group > 1 else _activated(maps, weights, "bn1", 1e-5)
    hidden = F.conv2d(read, weights["conv1.weight"], stride=stride, padding=1)
    out = F.conv2d(_activated(hidden, weights, "bn2", 1e-5), weights["conv2.weight"], padding=1)
    if not is_first:
        return maps + out
    beside = read if group == 1 else maps
    return F.conv2d(beside, weights["convShortcut.weight"], stride=stride) + out


def _activated(maps: Tensor, weights: Mapping[str, Tensor], norm: str, eps: float) -> Tensor:
    """BatchNorm by the statistics of the batch, then the leaky activation of slope 0.1."""
    mean = maps.mean(dim=(0, 2, 3), keepdim=True)
    variance = (maps - mean).square().mean(dim=(0, 2, 3), keepdim=True)
    scale, shift = (weights[f"{norm}.{part}"][:, None, None] for part in ("weight", "bias"))
    normed = (maps - mean) / (variance + eps).sqrt() * scale + shift
    return torch.where(normed > 0, normed, 0.1 * normed)
