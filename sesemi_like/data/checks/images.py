"""Which images networks and views accept, and descriptions of those they do not.

Shapes: B samples, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ...errors import ConfigProblem

AN_IMAGE = (
    "an image is a uint8 tensor or array in [0, 255], or a float32 one in [0, 1], with its "
    "channels first: (C, H, W), and (1, H, W) where it is gray"
)
_CHANNELS = (1, 3, 4)
_DTYPES = {torch.uint8, torch.float32, torch.float16, torch.bfloat16}


def describe_unsupported(image: Any) -> str:
    """Describes an image that networks and views do not accept; empty for one that they do.

    Args:
        image: The field `image` of a sample.

    Returns:
        Its type and shape, such as ``float64 (3, 8, 8)``.
    """
    if not isinstance(image, torch.Tensor | np.ndarray):
        return f"{type(image).__module__.split('.')[0]} {type(image).__name__}"
    try:
        tensor = torch.as_tensor(image)
    except TypeError:  # an array of a type that torch does not have
        return f"{image.dtype} {tuple(image.shape)}"
    is_last = tensor.ndim == 3 and tensor.shape[0] not in _CHANNELS and tensor.shape[2] in _CHANNELS
    if tensor.dtype not in _DTYPES:
        return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
    return f"{tuple(tensor.shape)}" if tensor.ndim != 3 or is_last else ""


def unsupported_images(batches: Mapping[str, Mapping[str, Any]]) -> list[ConfigProblem]:
    """Finds loaders whose images networks and views do not accept.

    Args:
        batches: A batch of each loader; what is checked is its `image`, if it has one that is a
            tensor (B, ...), and no tree.
    """
    images = {
        name: batch["image"][0]
        for name, batch in batches.items()
        if isinstance(batch.get("image"), torch.Tensor)
    }
    descriptions = {name: describe_unsupported(image) for name, image in images.items()}
    return [
        ConfigProblem(f"data.{name}.dataset", description, AN_IMAGE)
        for name, description in descriptions.items()
        if description
    ]
