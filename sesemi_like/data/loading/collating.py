"""From the samples of a batch to its fields.

A `collate_fn` is called with a list of samples. It may state five things by its attributes and
parameters: `takes_batches`, that samples which were read at once may be given as stacked fields;
`makes_targets`, that its targets are its own and labels are not read; `makes_fields`, that the data
of a train loader are evaluated with it too; `draws_nothing`, that it draws no random numbers; and a
parameter `generator`, that it draws from this generator alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...collation import RotationTransformer
from ...config.instantiate import instantiate
from ..batches import Batch, StackedSamples
from ..samples import Sample
from ..stacking import stack_samples

Collation = Callable[..., Batch]


def build_collation(loader: Mapping[str, Any], key: str) -> Collation:
    """Builds the loader's `collate_fn`; without one, :func:`stack_fields`.

    Args:
        loader: The loader's config.
        key: Its config key.
    """
    built = instantiate(loader.get("collate_fn"), key=f"{key}.collate_fn")
    return stack_fields if built is None else built


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

    Returns:
        As :func:`~sesemi_like.data.stacking.stack_samples`.

    Raises:
        BatchError: If a field cannot be stacked, such as images that differ in size.
    """
    return samples if isinstance(samples, Mapping) else stack_samples(samples)


stack_fields.takes_batches = True  # type: ignore[attr-defined]


def makes_targets(collation: Collation) -> bool:
    """Whether a collation states that its targets are its own, and labels are not read."""
    return bool(getattr(collation, "makes_targets", False))


def makes_fields(collation: Collation | None) -> bool:
    """Whether a collation makes fields that evaluation of the same samples needs as well."""
    return bool(getattr(collation, "makes_fields", False))


def draws_nothing(collation: Collation) -> bool:
    """Whether a collation is known to draw no random numbers."""
    is_known = collation is stack_fields or isinstance(collation, RotationTransformer)
    return is_known or bool(getattr(collation, "draws_nothing", False))
