"""The interface of views: random versions of a field of a whole batch, made on its device.

Shapes: N images, C channels, H height, W width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from sesemi_like.views.checks import check
from sesemi_like.views.images import as_float, is_image_field


class View(Protocol):
    """What makes a view of a batch: any callable of this form.

    It takes a field, any tree with a row per sample, and a generator on the CPU (None: torch's
    global one), and returns one tensor or several named trees. Images come as (N, C, H, W), uint8
    in [0, 255] or float in [0, 1], and leave as float32. Every row gets its own random draw, made
    on the CPU and copied to the field's device, so that a seed means the same on every device.
    """

    def __call__(self, images: Any, generator: torch.Generator | None = None) -> Any:
        """Makes the view."""
        ...


class TensorView(ABC):
    """A view that is one tensor: takes care of the images' type, subclasses of the rest."""

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Makes the view.

        Args:
            images: (N, C, H, W), uint8 in [0, 255] or float in [0, 1].
            generator: Source of all random draws, on the CPU; None takes torch's global one.

        Returns:
            float32 images.

        Raises:
            ValueError: The images have another shape or type.
        """
        return self.transform(as_float(images), generator)

    @abstractmethod
    def transform(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Makes the view of float32 images (N, C, H, W)."""


class Compose:
    """Views one after the other.

    Args:
        steps: Views in the order in which they are applied; only the last may return several
            named values. No steps at all: images as float32.
        source: The batch field the view is made from, or a part of one (``text.input_ids``). One
            of images (:func:`is_image_field`) is checked and passed on as float32, and so is a
            tensor that the last step returns; others reach the steps as they are.

    Example:
        >>> view = Compose([RandomCrop(padding=4), HorizontalFlip(), Normalize(0.5, 0.25)])
        >>> view(images, generator)
    """

    def __init__(self, steps: Sequence[View], source: str = "image") -> None:
        for step in steps:
            check(callable(step), "steps", step, "views, each a callable (images, generator)")
        self.steps = tuple(steps)
        self.source = source

    def __call__(self, images: Any, generator: torch.Generator | None = None) -> Any:
        """Makes the view.

        Args:
            images: The source: images (N, C, H, W), uint8 in [0, 255] or float in [0, 1], or any
                tree with a row per sample.
            generator: Source of all random draws, on the CPU; None takes torch's global one.

        Returns:
            What the last step returns.

        Raises:
            ValueError: The images have another shape or type, or a step before the last one
                returns several named images.
        """
        if not is_image_field(self.source):
            for step in self.steps:
                images = step(images, generator)
            return images
        result: Any = as_float(images)
        for step in self.steps:
            result = step(single_tensor(result), generator)
        return as_float(result) if isinstance(result, Tensor) else result


def single_tensor(result: Tensor | dict[str, Tensor]) -> Tensor:
    """Returns the one tensor a further step can take, or raises ValueError."""
    if isinstance(result, Tensor):
        return result
    raise ValueError(
        f"steps: found further steps after one that returns the fields {sorted(result)}; "
        "expected such a step at the end"
    )
