"""Images as samples: from a loaded image, through its transform, to the fields of a sample.

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
    """Reads an image as a sample; an object, so that worker processes can be handed it.

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
        """Makes a sample of a loaded image.

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
    """The loader of a data set whose images are files that are decoded when they are read.

    Args:
        samples: A data set; of one that is read from a cache, and of others, it is None.
    """
    load = samples.read.load if isinstance(samples.read, ImageReader) else None
    return load if isinstance(load, FileLoader) else None


def draws_of(transform: ImageTransform | None) -> Draws:
    """What a transform is known to draw from: nothing, or torch's generator alone, or anything.

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
    """Whether a transform is known to be the same each time: none, or torchvision's resizing.

    Those of `torchvision.transforms.v2`, which take tensors as well as Pillow images.
    """
    if transform is None:
        return True
    if not _takes_tensors(transform):
        return False
    if type(transform).__name__ == "Compose":
        return all(map(is_deterministic, transform.transforms))
    return type(transform).__name__ in _DETERMINISTIC


def least_side(transform: Any) -> int | None:
    """The shorter side that an image needs for a transform that begins by resizing it.

    Twice the side it is resized to: decoded so, images differ from whole ones by less than the
    rounding of most formats. None where the transform begins otherwise.
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
    """Makes a uint8 tensor (C, H, W) of a PIL image or an array (H, W) or (H, W, C).

    It lies in memory as the image did, channel by channel of each pixel.
    """
    array = np.array(image, dtype=np.uint8)
    array = array[:, :, None] if array.ndim == 2 else array
    return torch.from_numpy(array).permute(2, 0, 1)


def to_pil(image: Any) -> Any:
    """Makes a PIL image of an array (H, W) or (H, W, C); a PIL image stays as it is."""
    from PIL import Image

    return Image.fromarray(image) if isinstance(image, np.ndarray) else image
