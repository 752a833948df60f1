"""The base class of backbones: images to features of a known size, frozen on request."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..freezing import freeze


class Backbone(nn.Module):
    """Maps images (N, C, H, W) to features (N, D).

    One whose features are pooled maps defines :meth:`maps`, which loss heads can then ask for;
    any other defines :meth:`forward`.

    Attributes:
        out_features: D.
        normalization: Mean and standard deviation, of pixels in [0, 1], of the images that the
            weights it begins with are for; None where that is not known.
    """

    out_features: int
    normalization: tuple[list[float], list[float]] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.is_frozen = False

    def freeze(self) -> None:
        """Stops learning for good: no gradients, and BatchNorm and dropout as in evaluation."""
        self.is_frozen = True
        freeze(self)

    def adapt(
        self, adapter: Mapping[str, Any] | None, image_size: tuple[int, int, int] = (3, 224, 224)
    ) -> None:
        """Freezes the weights there are and trains adapters beside them.

        A backbone calls it at the end of its construction, once it has its weights.

        Args:
            adapter: See :func:`~sesemi_like.models.backbones.adapters.add_adapters`; None changes
                nothing.
            image_size: Channels, height and width of images that it takes.

        Raises:
            ValueError: If the settings are not possible, or the backbone is frozen as a whole.
        """
        if adapter is None:
            return
        if self.is_frozen:
            raise ValueError(
                "freeze: found true; an adapter freezes all but itself, give freeze: false"
            )
        from .adapters import add_adapters

        add_adapters(self, adapter, image_size)

    @property
    def has_maps(self) -> bool:
        """Whether its features are pooled maps."""
        return type(self).maps is not Backbone.maps

    def maps(self, images: Tensor) -> Tensor:
        """Maps images (N, C, H, W) to feature maps (N, D, H', W')."""
        raise NotImplementedError(f"{type(self).__name__} has neither maps nor forward")

    def pool(self, maps: Tensor) -> Tensor:
        """Maps feature maps (N, D, H', W') to features (N, D)."""
        return global_average(maps)

    def forward(self, images: Tensor) -> Tensor:
        """Maps images (N, C, H, W) to features (N, D)."""
        return self.pool(self.maps(images))


def global_average(features: Tensor) -> Tensor:
    """Averages feature maps (N, D, H, W) over their pixels to (N, D)."""
    return torch.mean(features, dim=(2, 3))


@torch.no_grad()
def feature_shape(network: nn.Module, image_size: tuple[int, int, int]) -> tuple[int, ...]:
    """Returns the shape of a network's output without computing or drawing anything.

    Args:
        network: The network; a copy without memory of its own is called.
        image_size: Channels, height and width of an image.

    Returns:
        The shape of the output for one image; (1, D) if it returns features.
    """
    outline = copy.deepcopy(network).to("meta").eval()
    output = outline(torch.zeros(1, *image_size, device="meta"))
    return tuple(output.shape)


def reject_head_settings(settings: Mapping[str, Any]) -> None:
    """Refuses a number of classes, which belongs to the head.

    Raises:
        ValueError: If there is one among the settings.
    """
    if "num_classes" in settings:
        raise ValueError(
            f"num_classes: found {settings['num_classes']}; leave it out, a backbone has no "
            "classifier"
        )


def rejection(name: str, error: Exception) -> str:
    """Describes why a library did not build a model, by the user's setting where it is known."""
    unexpected = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    if unexpected:
        return f"{unexpected.group(1)}: {name} takes no such setting; leave it out"
    return f"{name} refused its settings: {type(error).__name__}: {error}"
