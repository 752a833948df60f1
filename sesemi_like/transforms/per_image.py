"""Views applied to single images: gamma, blur and RandAugment as per-image transforms.

Random draws come from torch's global generator, which a loader seeds for each image.

Shapes: C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torchvision.transforms import v2

from sesemi_like.transforms.parts import TO_FLOAT
from sesemi_like.views.base import View, single
from sesemi_like.views.blur import GaussianBlur as GaussianBlurView
from sesemi_like.views.color import Gamma
from sesemi_like.views.rand_augment import RandAugment


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
        return single(self.view(self.to_tensor(image)[None]))[0]


class GammaCorrection(PerImage):
    """Raises the pixels of an image to a random power.

    Args:
        gamma: Range of the power, above 0: below 1 brightens, above 1 darkens.
        p: Probability that an image is changed, in [0, 1].

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, gamma: Sequence[float] = (0.5, 1.5), p: float = 1.0) -> None:
        super().__init__(Gamma(gamma, p))


class GaussianBlur(PerImage):
    """Blurs an image with a Gaussian of random width.

    Args:
        sigma: Range of the standard deviation in pixels, above 0.
        p: Probability that an image is changed, in [0, 1].

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, sigma: Sequence[float] = (0.1, 2.0), p: float = 1.0) -> None:
        super().__init__(GaussianBlurView(sigma, p))


def rand_augment(
    num_ops: int = 2,
    operations: Sequence[str] | None = None,
    p: float = 1.0,
    fill: float = 0.5,
    cutout_size: float = 0.5,
) -> PerImage:
    """Makes FixMatch's RandAugment for single images, before normalization.

    Args:
        num_ops: Operations drawn for each image, with replacement.
        operations: Names of the operations to draw from; None takes FixMatch's 14.
        p: Probability that a drawn operation is applied, in [0, 1].
        fill: Value of uncovered and cut-out pixels, in [0, 1].
        cutout_size: Side of the square cut out at the end as a share of the image's shorter
            side, in [0, 1]; 0 leaves it out.

    Returns:
        A transform of an image to float32 (C, H, W) in [0, 1].

    Raises:
        ValueError: An argument is out of range or an operation unknown.
    """
    return PerImage(RandAugment(num_ops, operations, p, fill, cutout_size))
