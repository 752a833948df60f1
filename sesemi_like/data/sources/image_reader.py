"""Reading images as samples: loading, the transform, and the fields that result.

Shapes: N samples, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ...errors import TransformError
from ..readers import Draws, FileLoader
from ..samples import Sample, Samples

ImageTransform = Callable[[Any], Any]
_TRANSFORMS_OF_TENSORS = "torchvision.transforms.v2"


class ImageReader:
    """Reads an image as a sample; an object, so that it can be sent to worker processes.

    Args:
        load: Maps a position to a PIL image, or to a uint8 array (H, W) or (H, W, C). A
            :class:`~sesemi_like.data.readers.FileLoader` is given the shorter side that the
            transform needs as well.
        image_transform: Applied to the PIL image; None makes a uint8 tensor (C, H, W). A mapping
            it returns becomes fields of the sample.

    Attributes:
        least: The shorter side that the transform needs of a file's image; None needs all pixels.
        draws: What the transform draws from.
    """

    def __init__(self, load: Callable[..., Any], image_transform: ImageTransform | None) -> None:
        self.load = load
        self.image_transform = image_transform
        self.least = least_side(image_transform) if isinstance(load, FileLoader) else None
        self.draws = draws_of(image_transform)

    def __call__(self, position: int) -> Sample:
        """Reads the sample at a position."""
        image = self.load(position) if self.least is None else self.load(position, self.least)
        return self.sample_of(image)

    def sample_of(self, image: Any) -> Sample:
        """Converts a loaded image to a sample.

        Args:
            image: A PIL image, or a uint8 array (H, W) or (H, W, C).

        Raises:
            TransformError: If the transform fails on it.
        """
        if self.image_transform is None:
            return {"image": to_uint8(image)}
        # torchvision resizes 8-bit tensors several times as fast as Pillow images.
        takes_tensors = self.draws is Draws.NOTHING and isinstance(image, np.ndarray)
        try:
            result = self.image_transform(to_uint8(image) if takes_tensors else to_pil(image))
        except Exception as error:  # transforms of other libraries raise anything
            reason = f"its image_transform failed: {type(error).__name__}: {error}"
            raise TransformError(reason) from error
        return dict(result) if isinstance(result, Mapping) else {"image": result}


def file_loader_of(samples: Samples) -> FileLoader | None:
    """The loader of a data set whose images are files; None of cached and of other data sets.

    Args:
        samples: The data set.
    """
    load = samples.read.load if isinstance(samples.read, ImageReader) else None
    return load if isinstance(load, FileLoader) else None


def draws_of(transform: ImageTransform | None) -> Draws:
    """The generators that a transform draws from, as far as is known.

    Args:
        transform: Applied to an image; None draws nothing.
    """
    if is_deterministic(transform):
        return Draws.NOTHING
    return Draws.TORCH if _draws_from_torch(transform) else Draws.ANY


def _draws_from_torch(transform: Any) -> bool:
    parts = getattr(transform, "transforms", ())
    is_lambda = type(transform).__name__ == "Lambda"
    return _takes_tensors(transform) and not is_lambda and all(map(_draws_from_torch, parts))


def _takes_tensors(transform: Any) -> bool:
    return type(transform).__module__.startswith(_TRANSFORMS_OF_TENSORS)


_DETERMINISTIC = {"Resize", "CenterCrop", "PILToTensor", "ToImage", "ToPureTensor", "Grayscale"}


def is_deterministic(transform: Any) -> bool:
    """Whether a transform is known to be deterministic: none, or the resizing of torchvision's v2.

    Transforms of `torchvision.transforms.v2` take tensors as well as Pillow images.

    Args:
        transform: Applied to an image; None is deterministic.
    """
    if transform is None:
        return True
    if not _takes_tensors(transform):
        return False
    if type(transform).__name__ == "Compose":
        return all(map(is_deterministic, transform.transforms))
    return type(transform).__name__ in _DETERMINISTIC


def least_side(transform: Any) -> int | None:
    """The shorter side that suffices for a transform that begins by resizing.

    It is twice the side resized to: the result then differs from that of all pixels by less than
    the rounding of most formats.

    Args:
        transform: Applied to an image.

    Returns:
        Pixels, or None where the transform begins with something else.
    """
    first = transform
    while type(first).__name__ == "Compose" and getattr(first, "transforms", None):
        first = first.transforms[0]
    is_resize = type(first).__name__ == "Resize" and "torchvision." in type(first).__module__
    sizes = getattr(first, "size", None) if is_resize else None
    if not sizes or getattr(first, "max_size", None):
        return None
    return 2 * int(max(sizes if isinstance(sizes, Sequence) else [sizes]))


def to_uint8(image: Any) -> torch.Tensor:
    """Converts a PIL image or an array (H, W) or (H, W, C) to a uint8 tensor (C, H, W).

    The memory layout stays that of the image: the channels of each pixel are adjacent.

    Args:
        image: The image, with values in [0, 255].
    """
    array = np.array(image, dtype=np.uint8)
    array = array[:, :, None] if array.ndim == 2 else array
    return torch.from_numpy(array).permute(2, 0, 1)


def to_pil(image: Any) -> Any:
    """Converts an array to a PIL image, which is returned unchanged if it is one already.

    Args:
        image: A PIL image or a uint8 array (H, W) or (H, W, C).
    """
    from PIL import Image

    return Image.fromarray(image) if isinstance(image, np.ndarray) else image
