"""Whole transforms from an image to normalized tensors: for training, evaluation, many crops.

Shapes: C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torchvision.transforms import v2

from sesemi_like.transforms.parts import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ImageTransform,
    interpolation_mode,
    to_normalized_tensor,
)
from sesemi_like.views.checks import check, integer, interval, number
from sesemi_like.views.crops import SMALLEST_SHARE, multi_crop_settings

RATIO = (3 / 4, 4 / 3)


def train_transforms(
    crop_dim: int = 224,
    scale: Sequence[float] = (0.2, 1.0),
    ratio: Sequence[float] = RATIO,
    resize: int | None = None,
    flip: float = 0.5,
    color_jitter: float = 0.0,
    erasing: float = 0.0,
    augmentations: Sequence[Callable[[Any], Any]] = (),
    mean: float | Sequence[float] = IMAGENET_MEAN,
    std: float | Sequence[float] = IMAGENET_STD,
    interpolation: str = "bilinear",
) -> ImageTransform:
    """Builds the transform of training images: a random crop, a flip, and more on request.

    Args:
        crop_dim: Side of the square result in pixels.
        scale: Range of the crop's share of the image's area, in (0, 1].
        ratio: Range of the crop's width / height.
        resize: Length to which the shorter side is resized first; None crops the full image.
        flip: Probability of mirroring left and right, in [0, 1].
        color_jitter: Spread of the factors of brightness, contrast and saturation around 1.
        erasing: Probability of setting a random rectangle to the mean color, in [0, 1].
        augmentations: Further transforms of the cropped image, before normalization.
        mean: One number, or one per channel, of pixels in [0, 1].
        std: One number, or one per channel, above 0.
        interpolation: bilinear | bicubic | nearest | ...

    Returns:
        A transform of a Pillow image to float32 (C, crop_dim, crop_dim), normalized.

    Raises:
        ValueError: An argument is out of range.
    """
    mode = interpolation_mode(interpolation)
    side = integer("crop_dim", crop_dim, 1)
    jitter = number("color_jitter", color_jitter, 0, float("inf"))
    erase = number("erasing", erasing, 0, 1)
    steps = [
        *shorter_side(resize, mode),
        random_crop((side, side), interval("scale", scale, SMALLEST_SHARE, 1), mode, ratio),
        v2.RandomHorizontalFlip(number("flip", flip, 0, 1)),
        *([v2.ColorJitter(jitter, jitter, jitter)] if jitter else []),
        *augmentations,
        *to_normalized_tensor(mean, std),
        *([v2.RandomErasing(erase)] if erase else []),
    ]
    return compose(steps)


def center_crop_transforms(
    resize: int = 256,
    crop_dim: int = 224,
    mean: float | Sequence[float] = IMAGENET_MEAN,
    std: float | Sequence[float] = IMAGENET_STD,
    interpolation: str = "bilinear",
) -> ImageTransform:
    """Builds the transform of images to be evaluated: the middle of the resized image.

    Args:
        resize: Length to which the shorter side is resized, at least `crop_dim`.
        crop_dim: Side of the square result in pixels.
        mean: One number, or one per channel, of pixels in [0, 1].
        std: One number, or one per channel, above 0.
        interpolation: bilinear | bicubic | nearest | ...

    Returns:
        A transform of a Pillow image to float32 (C, crop_dim, crop_dim), normalized.

    Raises:
        ValueError: An argument is out of range.
    """
    side = integer("crop_dim", crop_dim, 1)
    mode = interpolation_mode(interpolation)
    enough = integer("resize", resize, 1) >= side
    check(enough, "resize", resize, f"at least crop_dim, which is {side}")
    return compose(
        [*shorter_side(resize, mode), v2.CenterCrop(side), *to_normalized_tensor(mean, std)]
    )


def multi_crop_transforms(
    num_global: int = 2,
    num_local: int = 6,
    global_size: int | Sequence[int] = 224,
    local_size: int | Sequence[int] = 96,
    global_scale: Sequence[float] = (0.4, 1.0),
    local_scale: Sequence[float] = (0.05, 0.4),
    flip: float = 0.5,
    augmentations: Sequence[Callable[[Any], Any]] = (),
    mean: float | Sequence[float] = IMAGENET_MEAN,
    std: float | Sequence[float] = IMAGENET_STD,
    interpolation: str = "bilinear",
) -> ApplyEach:
    """Builds the transform to a few large and many small crops (SwAV, arXiv:2006.09882).

    Args:
        num_global: Number of large crops.
        num_local: Number of small crops.
        global_size: Side of a large crop in pixels, or [height, width].
        local_size: Side of a small crop in pixels, or [height, width].
        global_scale: Range of a large crop's share of the image's area, in (0, 1].
        local_scale: Range of a small crop's share of the image's area, in (0, 1].
        flip: Probability of mirroring left and right, in [0, 1].
        augmentations: Further transforms of each crop, before normalization.
        mean: One number, or one per channel, of pixels in [0, 1].
        std: One number, or one per channel, above 0.
        interpolation: bilinear | bicubic | nearest | ...

    Returns:
        A transform of a Pillow image to a list of float32 tensors (C, size, size), normalized,
        large crops first.

    Raises:
        ValueError: An argument is out of range.
    """
    mode = interpolation_mode(interpolation)
    crops = multi_crop_settings(
        num_global, num_local, global_size, local_size, global_scale, local_scale
    )
    after = [v2.RandomHorizontalFlip(number("flip", flip, 0, 1)), *augmentations]
    after += to_normalized_tensor(mean, std)
    return ApplyEach(
        [compose([random_crop(size, scale, mode), *after]) for size, scale in crops.values()]
    )


class ApplyEach:
    """Applies several transforms to one image.

    Args:
        transforms: From an image to a tensor each.
    """

    def __init__(self, transforms: Sequence[ImageTransform]) -> None:
        self.transforms = list(transforms)

    def __call__(self, image: Any) -> list[Tensor]:
        """Returns the results in the order of the transforms."""
        return [transform(image) for transform in self.transforms]


def random_crop(
    size: tuple[int, int], scale: tuple[float, float], mode: Any, ratio: Sequence[float] = RATIO
) -> Callable[[Any], Any]:
    """Builds a random resized crop of an image."""
    crop: Callable[[Any], Any] = v2.RandomResizedCrop(
        size,
        scale=scale,
        ratio=interval("ratio", ratio, SMALLEST_SHARE, 1 / SMALLEST_SHARE),
        interpolation=mode,
        antialias=True,
    )
    return crop


def shorter_side(resize: int | None, mode: Any) -> list[Callable[[Any], Any]]:
    """Lists the step that resizes the shorter side, or nothing for None."""
    if resize is None:
        return []
    return [v2.Resize(integer("resize", resize, 1), interpolation=mode, antialias=True)]


def compose(steps: list[Callable[[Any], Any]]) -> ImageTransform:
    """Applies steps one after the other, the last of which returns a tensor."""
    transform: ImageTransform = v2.Compose(steps)
    return transform
