"""What the images of a network are: their size, normalization and classes.

Shapes: N images, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from ..config.instantiate import instantiate
from .base import Compose, single_tensor
from .images import as_float
from .normalize import Normalize


@dataclass(frozen=True)
class Inputs:
    """What a network is evaluated on, as plain values that a checkpoint can hold.

    Attributes:
        classes: The names of the classes by index, or None where they have none.
        shape: (C, H, W) of the images that enter the network.
        mean: Subtracted from pixels in [0, 1], one number or one per channel; None where images
            are not normalized, or not in a way that is known.
        std: What they are divided by afterwards.
        view: The config of the view from images, uint8 or float in [0, 1], to what enters the
            network; None only scales them to [0, 1].
    """

    classes: list[str] | None = None
    shape: tuple[int, ...] | None = None
    mean: list[float] | None = None
    std: list[float] | None = None
    view: dict[str, Any] | None = None

    @classmethod
    def of(
        cls,
        image: Any,
        *,
        classes: list[str] | None,
        image_transform: Any = None,
        view: Any = None,
        view_config: Mapping[str, Any] | None = None,
    ) -> Inputs:
        """Describes the images of a loader.

        Args:
            image: A batch as it enters the network, (N, C, H, W); else no shape is known.
            classes: The names of the classes.
            image_transform: What the loader's workers apply to each image.
            view: What is applied to each batch afterwards, on the device.
            view_config: Its config; None where evaluation applies of it the normalization alone.
        """
        shape = tuple(image.shape[1:]) if isinstance(image, Tensor) and image.ndim == 4 else None
        before, after = normalization_of(image_transform), normalization_of(view)
        mean, std = after or before or (None, None)
        steps = [] if before is None else [_normalize(*before)]
        if view_config is not None:
            steps.append(dict(view_config))
        elif after is not None:
            steps.append(_normalize(*after))
        whole = _compose(steps)
        return cls(list(classes) if classes else None, shape, mean, std, whole)

    @classmethod
    def from_plain(cls, content: Any) -> Inputs | None:
        """What a checkpoint holds under ``data``, or None where that is something else."""
        names = {field.name for field in fields(cls)}
        if not isinstance(content, Mapping) or not set(content) <= names:
            return None
        shape = content.get("shape")
        return cls(**{**content, "shape": None if shape is None else tuple(shape)})

    def plain(self) -> dict[str, Any]:
        """Plain values, from which :meth:`from_plain` makes the same again."""
        return {**asdict(self), "shape": None if self.shape is None else list(self.shape)}

    def prepared(self, images: Tensor) -> Tensor:
        """Prepares images as validation does.

        Args:
            images: (N, C, H, W), uint8 in [0, 255] or floating point in [0, 1], of the size that
                the network was evaluated on; they are not resized.

        Returns:
            float32 (N, C, H, W).

        Raises:
            ValueError: If they have another shape, number of channels or type.
        """
        if self.shape is not None and images.ndim == 4 and images.shape[1] != self.shape[0]:
            raise ValueError(
                f"images: found shape {tuple(images.shape)}; needs (N, C, H, W) with "
                f"{self.shape[0]} channels"
            )
        if self.view is None:
            return as_float(images)
        view = instantiate(self.view, key="data.view")
        return single_tensor(view(images, torch.Generator().manual_seed(0)))

    def differences(self, other: Inputs) -> Iterator[str]:
        """Yields what differs in the images of another run: size and normalization.

        Args:
            other: What a checkpoint was trained with; this is what the run gives it.
        """
        if self.shape and other.shape and self.shape != other.shape:
            yield f"images of {_size(self.shape)} instead of {_size(other.shape)}"
        own, theirs = (self.mean, self.std), (other.mean, other.std)
        if not _are_close(own, theirs):
            yield f"images normalized by {_describe(*own)} instead of {_describe(*theirs)}"


def normalization_of(step: Any) -> tuple[list[float], list[float]] | None:
    """Returns the mean and standard deviation of the last normalization in a transform or view.

    Args:
        step: A view, a transform of torchvision, or a composition of them.
    """
    for name in ("steps", "transforms", "compose"):
        inner = getattr(step, name, None)
        if inner is None:
            continue
        for part in reversed(list(inner) if isinstance(inner, list | tuple) else [inner]):
            if normalization := normalization_of(part):
                return normalization
    if type(step).__name__ != "Normalize":
        return None
    try:
        return _numbers(step.mean), _numbers(step.std)
    except (AttributeError, TypeError, ValueError):  # another library's, which does something else
        return None


def _numbers(values: Any) -> list[float]:
    several = values if isinstance(values, list | tuple) else [values]
    return [float(value) for value in several]


def _normalize(mean: list[float], std: list[float]) -> dict[str, Any]:
    return {"_target_": f"{Normalize.__module__}.Normalize", "mean": mean, "std": std}


def _compose(steps: list[dict[str, Any]]) -> dict[str, Any] | None:
    if len(steps) < 2:
        return steps[0] if steps else None
    return {"_target_": f"{Compose.__module__}.Compose", "steps": steps}


def _are_close(own: tuple[Any, Any], theirs: tuple[Any, Any]) -> bool:
    for mine, other in zip(own, theirs, strict=True):
        if mine is None or other is None:
            if mine is not other:
                return False
        else:
            count = max(len(mine), len(other))
            mine, other = (list(x) * (count if len(x) == 1 else 1) for x in (mine, other))
            if len(mine) != len(other) or any(
                abs(a - b) > 1e-3 for a, b in zip(mine, other, strict=True)
            ):
                return False
    return True


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape)


def _describe(mean: list[float] | None, std: list[float] | None) -> str:
    return "nothing" if mean is None else f"mean {mean} and std {std}"
