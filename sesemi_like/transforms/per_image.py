"""Views applied to single images: gamma, blur and RandAugment as per-image transforms.

Random draws come from torch's global generator, which a loader seeds for each image.

Shapes: C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

from torch import Tensor
from torchvision.transforms import v2

from sesemi_like.transforms.parts import TO_FLOAT
from sesemi_like.views.base import View, single_tensor
from sesemi_like.views.blur import GaussianBlur as GaussianBlurView
from sesemi_like.views.color import Gamma
from sesemi_like.views.rand_augment import RandAugment

Settings = ParamSpec("Settings")


class PerImage:
    """Applies a view of batches to one image.

    Args:
        view: A view that returns one tensor.
    """

    def __init__(self, view: View) -> None:
        self.view = view
        self.to_tensor = v2.Compose([*TO_FLOAT, v2.ToPureTensor()])

    def __call__(self, image: Any) -> Tensor:
        """Applies the view.

        Args:
            image: A Pillow image, an array (H, W, C) or a tensor (C, H, W); 8-bit or float in
                [0, 1].

        Returns:
            float32 (C, H, W).

        Raises:
            ValueError: The view returns several tensors.
        """
        return single_tensor(self.view(self.to_tensor(image)[None]))[0]


def per_image(view: Callable[Settings, View]) -> Callable[Settings, PerImage]:
    """Returns a function that takes a view's settings and builds the view for single images.

    Args:
        view: Builds a view that returns one tensor.
    """

    @wraps(view, updated=())
    def build(*args: Settings.args, **settings: Settings.kwargs) -> PerImage:
        return PerImage(view(*args, **settings))

    return build


GammaCorrection = per_image(Gamma)
"""Raises the pixels of an image to a random power; settings of :class:`sesemi_like.views.Gamma`."""

GaussianBlur = per_image(GaussianBlurView)
"""Blurs an image; settings of :class:`sesemi_like.views.GaussianBlur`."""

rand_augment = per_image(RandAugment)
"""FixMatch's RandAugment of an image; settings of :class:`sesemi_like.views.RandAugment`."""
