"""The weak and strong views of FixMatch (arXiv:2001.07685, section 2.3)."""

from __future__ import annotations

from collections.abc import Sequence

from sesemi_like.views.base import Compose, View
from sesemi_like.views.checks import check
from sesemi_like.views.crops import Resize
from sesemi_like.views.geometry import HorizontalFlip, RandomCrop
from sesemi_like.views.normalize import Normalize
from sesemi_like.views.rand_augment import RandAugment


def weak(
    size: int | None = None,
    padding: int = 4,
    flip: bool = True,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
) -> Compose:
    """Makes the weak view: a shifted crop and a flip, then normalization.

    Args:
        size: Side of the square result; the shorter side is resized to it first. None keeps the
            images' size.
        padding: Largest shift in pixels; the edges are mirrored.
        flip: Mirrors left and right with probability 0.5.
        mean: One number, or one per channel; None with `std` None leaves out the normalization.
        std: One number, or one per channel.

    Returns:
        A view to one float32 tensor.

    Raises:
        ValueError: An argument is out of range, or only one of `mean` and `std` is given.
    """
    return Compose([*crop_and_flip(size, padding, flip), *normalization(mean, std)])


def strong(
    size: int | None = None,
    padding: int = 4,
    flip: bool = True,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    num_ops: int = 2,
    p: float = 1.0,
    fill: float = 0.5,
    cutout_size: float = 0.5,
) -> Compose:
    """Makes the strong view: a shifted crop and a flip, RandAugment, cutout, normalization.

    Args:
        size: Side of the square result; the shorter side is resized to it first. None keeps the
            images' size.
        padding: Largest shift in pixels; the edges are mirrored.
        flip: Mirrors left and right with probability 0.5.
        mean: One number, or one per channel; None with `std` None leaves out the normalization.
        std: One number, or one per channel.
        num_ops: Operations drawn for each image.
        p: Probability that a drawn operation is applied, in [0, 1].
        fill: Value of uncovered and cut-out pixels before normalization, in [0, 1].
        cutout_size: Side of the cut-out square as a share of the image's; 0 leaves it out.

    Returns:
        A view to one float32 tensor.

    Raises:
        ValueError: An argument is out of range, or only one of `mean` and `std` is given.
    """
    augment = RandAugment(num_ops=num_ops, p=p, fill=fill, cutout_size=cutout_size)
    steps: list[View] = [*crop_and_flip(size, padding, flip), augment]
    return Compose([*steps, *normalization(mean, std)])


def crop_and_flip(size: int | None, padding: int, flip: bool) -> list[View]:
    """Lists the steps that weak and strong views begin with."""
    steps: list[View] = [] if size is None else [Resize(size)]
    if padding or size is not None:
        steps.append(RandomCrop(padding, size=size))
    return [*steps, HorizontalFlip()] if flip else steps


def normalization(
    mean: float | Sequence[float] | None, std: float | Sequence[float] | None
) -> list[View]:
    """Lists the normalization, or nothing without mean and standard deviation."""
    given = {"mean": mean, "std": std}
    check((mean is None) == (std is None), "mean, std", given, "both or neither")
    return [] if mean is None or std is None else [Normalize(mean, std)]
