"""The pieces that whole transforms are assembled from.

Shapes: C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from sesemi_like.errors import suggest
from sesemi_like.views.checks import check
from sesemi_like.views.normalize import per_channel

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

ImageTransform = Callable[[Any], Tensor]


def to_normalized_tensor(
    mean: float | Sequence[float], std: float | Sequence[float]
) -> list[Callable[[Any], Any]]:
    """Lists the steps from an image to a normalized tensor.

    Args:
        mean: One number, or one per channel, of pixels in [0, 1].
        std: One number, or one per channel, above 0.

    Returns:
        Steps from a Pillow image, array (H, W, C) or tensor (C, H, W) to float32 (C, H, W).

    Raises:
        ValueError: An argument is no number, or a standard deviation not above 0.
    """
    means, stds = per_channel("mean", mean), per_channel("std", std)
    check(min(stds) > 0, "std", std, "numbers above 0")
    check(
        len(means) == len(stds) or 1 in (len(means), len(stds)),
        "mean, std",
        [means, stds],
        "lists of the same length",
    )
    return [*TO_FLOAT, v2.Normalize(means, stds), v2.ToPureTensor()]


TO_FLOAT = (v2.ToImage(), v2.ToDtype(torch.float32, scale=True))


def interpolation_mode(name: str) -> Any:
    """Looks torchvision's interpolation mode up by name, e.g. bilinear, or raises ValueError."""
    modes = {mode.value: mode for mode in v2.InterpolationMode}
    known = str(name) in modes
    check(known, "interpolation", name, suggest(str(name), modes, noun="known interpolations"))
    return modes[str(name)]
