"""Random draws, one per image of a batch, from a generator on the CPU.

Drawn on the CPU they are the same numbers whatever the device, and what depends on them, such as
the sizes of groups, is known without waiting for the device.

Shapes: N images of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def uniform(images: Tensor, low: float, high: float, generator: torch.Generator | None) -> Tensor:
    """Draws one number of [low, high) per image: float32 (N,) on the images' device."""
    return low + (high - low) * moved_to(torch.rand(len(images), generator=generator), images)


def integers(images: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """Draws one whole number of 0 ... count - 1 per image: int64 (N,) on the images' device."""
    return moved_to(torch.randint(count, (len(images),), generator=generator), images)


def moved_to(drawn: Tensor, images: Tensor) -> Tensor:
    """Hands drawn numbers to the images' device without waiting for it."""
    return drawn.to(images.device, non_blocking=True)


def constant(values: Sequence[float], images: Tensor) -> Tensor:
    """Makes a tensor of the images' type on their device, without waiting for it."""
    return moved_to(torch.tensor(values, dtype=images.dtype), images)


def applied(
    images: Tensor, changed: Tensor, probability: float, generator: torch.Generator | None
) -> Tensor:
    """Takes each image from `changed` with a probability, else from `images`.

    Args:
        images: (N, C, H, W) as they were.
        changed: (N, C, H, W) after a change.
        probability: Of taking the changed image, in [0, 1]; at 1 nothing is drawn.
        generator: Source of the draws.

    Returns:
        (N, C, H, W).
    """
    if probability == 1:
        return changed
    return torch.where(per_image(uniform(images, 0, 1, generator) < probability), changed, images)


def per_image(values: Tensor) -> Tensor:
    """Reshapes one value per image (N,) to (N, 1, 1, 1), to be combined with images."""
    return values[:, None, None, None]
