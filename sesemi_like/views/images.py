"""What a batch of images is: its shape, its types, and the way to floats.

Shapes: N images, C channels, H height, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sesemi_like.views.checks import check


def is_image_field(name: str) -> bool:
    """Whether a field is one of images by its name: ``image``, ``rotation.image``, ``left_image``.

    Only images are scaled; integers of other fields stay what they are.
    """
    own = name.rpartition(".")[2]
    return own == "image" or own.endswith("_image")


def as_float(images: Tensor) -> Tensor:
    """Converts a batch of images to float32, uint8 from [0, 255] to [0, 1].

    Args:
        images: (N, C, H, W), uint8 or floating point.

    Returns:
        float32 (N, C, H, W).

    Raises:
        ValueError: The images have another shape or type.
    """
    check_images(images)
    return images.float().div_(255) if images.dtype == torch.uint8 else images.float()


def check_images(images: Tensor) -> Tensor:
    """Returns a batch (N, C, H, W), uint8 or floating point, or raises ValueError."""
    shape = tuple(images.shape)
    check(images.ndim == 4, "images", f"shape {shape}", "a batch of shape (N, C, H, W)")
    fits = images.dtype == torch.uint8 or images.is_floating_point()
    check(fits, "images", images.dtype, "uint8 or floating point")
    return images
