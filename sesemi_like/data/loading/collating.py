"""From the samples of a batch to its fields.

A `collate_fn` is called with a list of samples. It may state three things by its attributes and
parameters: `takes_batches`, that samples which were read at once may be given as stacked fields;
`makes_targets`, that its targets are its own and labels are not read; and a parameter `generator`,
that it draws from this generator alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import default_collate

from ...collation import RotationTransformer
from ...config.instantiate import instantiate
from ..batches import Batch, StackedSamples
from ..samples import Sample

Collation = Callable[..., Batch]


def build_collation(loader: Mapping[str, Any], key: str) -> Collation:
    """Builds the loader's `collate_fn`; without one, :func:`stack_fields`.

    Args:
        loader: The loader's config.
        key: Its config key.
    """
    built = instantiate(loader.get("collate_fn"), key=f"{key}.collate_fn")
    return built or stack_fields


def collate(
    collation: Collation, samples: list[Sample] | StackedSamples, **arguments: Any
) -> Batch:
    """Makes a batch of samples; stacked ones are given only to a collation that takes batches.

    Args:
        collation: A loader's `collate_fn`.
        samples: The samples.
        **arguments: Passed on to it.
    """
    if not isinstance(samples, StackedSamples):
        return collation(samples, **arguments)
    takes_batches = getattr(collation, "takes_batches", False)
    return collation(samples.fields if takes_batches else list(samples), **arguments)


def stack_fields(samples: Sequence[Sample] | Batch) -> Batch:
    """Stacks each field of the samples to a tensor of N rows; the default `collate_fn`.

    Args:
        samples: The samples, or their stacked fields.

    Raises:
        ValueError: If images differ in size.
    """
    if isinstance(samples, Mapping):
        return samples
    sizes = {tuple(s["image"].shape) for s in samples if isinstance(s.get("image"), Tensor)}
    if len(sizes) > 1:
        listed = ", ".join(str(size) for size in sorted(sizes)[:3])
        raise ValueError(
            f"images of different sizes ({listed}) cannot be stacked; set the dataset's "
            "image_transform to something that brings them to one size"
        )
    batch: Batch = default_collate(list(samples))
    return batch


stack_fields.takes_batches = True  # type: ignore[attr-defined]


def makes_targets(collation: Collation) -> bool:
    """Whether a collation states that its targets are its own, and labels are not read."""
    return bool(getattr(collation, "makes_targets", False))


def draws_nothing(collation: Collation) -> bool:
    """Whether a collation is known to draw no random numbers."""
    return collation is stack_fields or isinstance(collation, RotationTransformer)


def takes_generator(collation: Collation) -> bool:
    """Whether a collation has a parameter `generator`, from which it draws."""
    try:
        return "generator" in inspect.signature(collation).parameters
    except (TypeError, ValueError):  # some built-in functions have no signature
        return False
