"""Several named versions of one image, which default collation makes fields of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sesemi_like.transforms.parts import ImageTransform
from sesemi_like.views.checks import check, integer


class MultiView:
    """Applies named transforms to one image.

    Args:
        transforms: Transforms of an image to a tensor, by the name of the view.

    Raises:
        ValueError: There is none, or one cannot be called.
    """

    def __init__(self, transforms: Mapping[str, ImageTransform]) -> None:
        check(len(transforms) > 0, "transforms", dict(transforms), "at least one transform")
        for name, transform in transforms.items():
            check(callable(transform), f"transforms.{name}", transform, "a transform")
        self.transforms = {str(name): transform for name, transform in transforms.items()}

    def __call__(self, image: Any) -> dict[str, Tensor]:
        """Returns the results by the name of the view, each with its own random draws."""
        return {name: transform(image) for name, transform in self.transforms.items()}


def multi_view_transforms(
    transforms: ImageTransform | Mapping[str, ImageTransform], num_views: int | None = None
) -> MultiView:
    """Makes several views of each image.

    Args:
        transforms: One transform, applied `num_views` times to make `view_0`, `view_1`, ...; or
            transforms by the name of their view, each applied once.
        num_views: How many times one transform is applied, None for twice; not with named ones.

    Returns:
        A transform of an image to {view name: tensor}.

    Raises:
        ValueError: `num_views` is below 1 or given with named transforms, or there is none.
    """
    if isinstance(transforms, Mapping):
        check(num_views is None, "num_views", num_views, "null when the views are named")
        return MultiView(transforms)
    count = 2 if num_views is None else integer("num_views", num_views, 1)
    return MultiView({f"view_{number}": transforms for number in range(count)})


def two_view_transforms(first: ImageTransform, second: ImageTransform | None = None) -> MultiView:
    """Makes two views of each image.

    Args:
        first: Makes `view_0`.
        second: Makes `view_1`; None applies `first` again.

    Returns:
        A transform of an image to {"view_0": tensor, "view_1": tensor}.
    """
    return MultiView({"view_0": first, "view_1": first if second is None else second})
