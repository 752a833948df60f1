"""From the samples of a batch to its fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import default_collate

from ...collation import RotationTransformer, StackedSamples
from ...config.instantiate import instantiate

Batch = dict[str, Tensor]


def build_collation(loader: Mapping[str, Any], key: str) -> Callable[[list[Any]], Batch]:
    """The loader's `collate_fn`, or the one that stacks each field."""
    built = instantiate(loader.get("collate_fn"), key=f"{key}.collate_fn")
    return built or stack_fields  # type: ignore[no-any-return]


def stack_fields(samples: Sequence[dict[str, Any]]) -> Batch:
    """Stacks each field of the samples to a tensor of N rows.

    Raises:
        ValueError: If images differ in size.
    """
    if isinstance(samples, StackedSamples):
        return samples.fields
    sizes = {tuple(s["image"].shape) for s in samples if isinstance(s.get("image"), Tensor)}
    if len(sizes) > 1:
        found = ", ".join(str(size) for size in sorted(sizes)[:3])
        raise ValueError(
            f"images of different sizes ({found}) cannot be stacked; set the dataset's "
            "image_transform to something that brings them to one size"
        )
    batch: Batch = default_collate(list(samples))
    return batch


def draws_nothing(collate: Callable[..., Batch]) -> bool:
    """Whether a collation is known to draw no random numbers."""
    return collate is stack_fields or isinstance(collate, RotationTransformer)
