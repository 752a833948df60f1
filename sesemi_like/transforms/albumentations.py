"""An adapter for the transforms of the library albumentations, for configs that name them.

The library is no longer maintained, and the adapter is frozen: the extra `augmentation` installs
the one version that it is tested with, 2.0.8, and no features will be added. New configs are better
off with torchvision's transforms, or with :mod:`sesemi_like.views`, which process whole batches.

Shapes: C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Albumentations:
    """Applies transforms of albumentations, which work on arrays (H, W, C), to an image.

    Args:
        transforms: Objects such as `albumentations.HorizontalFlip(p=0.5)`, in order.

    Raises:
        ImportError: albumentations is not installed.
    """

    def __init__(self, transforms: Sequence[Any]) -> None:
        try:
            import albumentations
        except ImportError as error:
            raise ImportError(
                "sesemi_like.transforms.Albumentations needs the library albumentations: "
                'python -m pip install "sesemi-like[augmentation]"'
            ) from error
        self.compose = albumentations.Compose(list(transforms))

    def __call__(self, image: Any) -> Tensor:
        """Applies the transforms.

        Args:
            image: A Pillow image or an array (H, W, C) or (H, W).

        Returns:
            float32 (C, H, W); 8-bit results are scaled to [0, 1], others are kept.
        """
        # The library draws from its own generators; a loader seeds torch's for each image.
        if hasattr(self.compose, "set_random_seed"):
            self.compose.set_random_seed(int(torch.randint(2**31, ())))
        return to_float_tensor(self.compose(image=np.array(image))["image"])


def to_float_tensor(image: np.ndarray | Tensor) -> Tensor:
    """Converts an array (H, W, C) or (H, W), or a tensor (C, H, W), to float32 (C, H, W)."""
    tensor = image if isinstance(image, Tensor) else channels_first(image)
    return tensor.float() / 255 if tensor.dtype == torch.uint8 else tensor.float()


def channels_first(image: np.ndarray) -> Tensor:
    """Converts an array (H, W, C) or (H, W) to a tensor (C, H, W) of the same type."""
    return torch.from_numpy(np.ascontiguousarray(np.atleast_3d(image).transpose(2, 0, 1)))
