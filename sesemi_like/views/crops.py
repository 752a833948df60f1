"""Views that change the images' size: resizing, center crops, resized crops, many crops.

Shapes: N images, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sesemi_like.views.base import Compose, TensorView, View, single_tensor
from sesemi_like.views.boxes import Boxes, random_boxes
from sesemi_like.views.checks import check, height_and_width, integer, interval
from sesemi_like.views.images import as_float
from sesemi_like.views.warping import sample_at

SMALLEST_SHARE = 1e-4


class Resize(TensorView):
    """Resizes all images, bilinearly and without aliasing.

    Args:
        size: Length of the shorter side, the other one in proportion; or [height, width].

    Raises:
        ValueError: `size` is not made of integers above 0.
    """

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = height_and_width("size", size)
        self.keeps_proportions = isinstance(size, int)

    def transform(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Resizes all images alike; draws nothing."""
        size = self.size_for(images)
        if size == tuple(images.shape[-2:]):
            return images
        return F.interpolate(images, size, mode="bilinear", antialias=True)

    def size_for(self, images: Tensor) -> tuple[int, int]:
        """Returns the new (height, width)."""
        height, width = images.shape[-2:]
        if not self.keeps_proportions:
            return self.size
        side, shorter = self.size[0], min(height, width)
        return side * height // shorter, side * width // shorter


class CenterCrop(TensorView):
    """Cuts out the middle.

    Args:
        size: Side of the window, or [height, width].

    Raises:
        ValueError: `size` is not made of integers above 0; at a call, it exceeds the images.
    """

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = height_and_width("size", size)

    def transform(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Crops all images alike; draws nothing."""
        return center_crop(images, *self.size)


def center_crop(images: Tensor, height: int, width: int) -> Tensor:
    """Cuts the middle (height, width) out of images (..., H, W) of any type.

    Raises:
        ValueError: The window exceeds the images.
    """
    spare = images.shape[-2] - height, images.shape[-1] - width
    check(min(spare) >= 0, "size", [height, width], f"at most the images' {images.shape[-2:]}")
    top, left = spare[0] // 2, spare[1] // 2
    return images[..., top : top + height, left : left + width]


class RandomResizedCrop(TensorView):
    """Cuts a random rectangle out of each image and resizes it, bilinearly.

    Pixels are read without a low-pass filter, so a crop that shrinks to less than half its side
    shows aliasing: put a `Resize` before it.

    Args:
        size: Side of the result, or [height, width].
        scale: Range of the rectangle's share of the image's area, in (0, 1].
        ratio: Range of the rectangle's width / height, above 0.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        scale: Sequence[float] = (0.2, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
    ) -> None:
        self.size = height_and_width("size", size)
        self.scale = interval("scale", scale, SMALLEST_SHARE, 1)
        self.ratio = interval("ratio", ratio, SMALLEST_SHARE, 1 / SMALLEST_SHARE)

    def transform(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Crops each image by its own draw."""
        boxes = random_boxes(images, self.scale, self.ratio, generator)
        return resized_crops(images, boxes, *self.size)


def resized_crops(images: Tensor, boxes: Boxes, height: int, width: int) -> Tensor:
    """Resizes one rectangle of each image (N, C, H, W) to (N, C, height, width)."""
    vertical = sample_points(boxes.top, boxes.height, height)[:, :, None].expand(-1, -1, width)
    horizontal = sample_points(boxes.left, boxes.width, width)[:, None, :].expand(-1, height, -1)
    return sample_at(images, horizontal, vertical)


def sample_points(start: Tensor, length: Tensor, count: int) -> Tensor:
    """Spaces `count` pixel centers evenly over [start, start + length): (N,) to (N, count)."""
    shares = (torch.arange(count, device=start.device) + 0.5) / count
    points = start[:, None] + length[:, None] * shares
    # A crop must not read beyond its edge: points end at its outermost pixel centers.
    return points.clamp((start + 0.5)[:, None], (start + length - 0.5)[:, None])


class CropSettings(NamedTuple):
    """The settings of a random crop.

    Attributes:
        size: (height, width) of the result in pixels.
        scale: Range of the crop's share of the image's area, in (0, 1].
    """

    size: tuple[int, int]
    scale: tuple[float, float]


def multi_crop_settings(
    num_global: int,
    num_local: int,
    global_size: int | Sequence[int],
    local_size: int | Sequence[int],
    global_scale: Sequence[float],
    local_scale: Sequence[float],
) -> dict[str, CropSettings]:
    """Checks the arguments of multi-crop and lists the crops.

    Args:
        num_global: Number of large crops.
        num_local: Number of small crops.
        global_size: Side of a large crop, or [height, width].
        local_size: Side of a small crop, or [height, width].
        global_scale: Range of a large crop's share of the image's area, in (0, 1].
        local_scale: Range of a small crop's share of the image's area, in (0, 1].

    Returns:
        The settings by the name of the crop: `global_0`, `global_1`, ..., `local_0`, ...

    Raises:
        ValueError: An argument is out of range.
    """
    large = CropSettings(
        height_and_width("global_size", global_size),
        interval("global_scale", global_scale, SMALLEST_SHARE, 1),
    )
    small = CropSettings(
        height_and_width("local_size", local_size),
        interval("local_scale", local_scale, SMALLEST_SHARE, 1),
    )
    counts = integer("num_global", num_global, 0), integer("num_local", num_local, 0)
    check(sum(counts) > 0, "num_global, num_local", list(counts), "at least 1")
    return {f"global_{i}": large for i in range(counts[0])} | {
        f"local_{i}": small for i in range(counts[1])
    }


class MultiCrop:
    """A few large and many small crops of each image (SwAV, arXiv:2006.09882, section 3.2).

    Args:
        num_global: Number of large crops.
        num_local: Number of small crops.
        global_size: Side of a large crop, or [height, width].
        local_size: Side of a small crop, or [height, width].
        global_scale: Range of a large crop's share of the image's area, in (0, 1].
        local_scale: Range of a small crop's share of the image's area, in (0, 1].
        steps: Views that are then applied to every crop, each with its own draws.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        num_global: int = 2,
        num_local: int = 6,
        global_size: int | Sequence[int] = 224,
        local_size: int | Sequence[int] = 96,
        global_scale: Sequence[float] = (0.4, 1.0),
        local_scale: Sequence[float] = (0.05, 0.4),
        steps: Sequence[View] = (),
    ) -> None:
        crops = multi_crop_settings(
            num_global, num_local, global_size, local_size, global_scale, local_scale
        )
        self.crops = {
            name: Compose([RandomResizedCrop(crop.size, crop.scale), *steps])
            for name, crop in crops.items()
        }

    def __call__(
        self, images: Tensor, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Makes the crops.

        Args:
            images: (N, C, H, W), uint8 in [0, 255] or float in [0, 1].
            generator: Source of all random draws; None takes torch's global one.

        Returns:
            float32 (N, C, size, size) under `global_0`, `global_1`, ..., `local_0`, ...
        """
        images = as_float(images)
        return {name: single_tensor(crop(images, generator)) for name, crop in self.crops.items()}
