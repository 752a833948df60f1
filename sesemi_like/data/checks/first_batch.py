"""The first batch of a loader, built before training so that mistakes are reported early."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...errors import SKIP_HINT, ConfigError, ConfigProblem, TransformError, UnreadableSampleError
from ..batches import Batch
from ..loading.collating import build_collation
from ..loading.keys import is_evaluated
from ..samples import Sample, Samples
from ..streams import StreamedSamples
from .images import AN_IMAGE, describe_unsupported
from .unreadable import first_readable_samples

_NO_INDEX = "its batches have no index, by which rows that are evaluated twice are known"


def first_batch(
    source: Samples | StreamedSamples,
    loader: Mapping[str, Any],
    key: str,
    with_views: Callable[[Batch], Batch],
) -> Batch:
    """Collates two samples and computes every view of them.

    Args:
        source: The data set.
        loader: The loader's config.
        key: Its config key.
        with_views: Adds the loader's views to a batch.

    Raises:
        ConfigError: If there is no sample, or samples cannot be read, collated or evaluated.
    """
    try:
        samples = _first_two(source)
    except Exception as error:  # custom data sets and transforms raise anything
        raise ConfigError([_reading_problem(error, key, loader)]) from error
    if not samples:
        raise ConfigError([ConfigProblem(f"{key}.dataset", 0, "has no samples")])
    try:
        batch = with_views(build_collation(loader, key)(samples))
    except ConfigError:
        raise
    except Exception as error:  # custom collations and views raise anything
        expected = f"its first samples cannot be made a batch: {type(error).__name__}: {error}"
        unsupported = describe_unsupported(samples[0]["image"]) if "image" in samples[0] else ""
        hint = f"; its image is {unsupported}, and {AN_IMAGE}" if unsupported else ""
        name = key.removeprefix("data.")
        raise ConfigError([ConfigProblem(key, name, expected + hint)]) from error
    if "index" not in batch and is_evaluated(key.removeprefix("data.")):
        raise ConfigError([ConfigProblem(key, sorted(batch), _NO_INDEX)])
    return batch


def _reading_problem(error: Exception, key: str, loader: Mapping[str, Any]) -> ConfigProblem:
    """The problem of samples that cannot be read: in the transform, the files, or the data set."""
    config = loader["dataset"]
    if isinstance(error.__cause__, TransformError):
        transform = config.get("image_transform")
        target = transform.get("_target_") if isinstance(transform, Mapping) else transform
        return ConfigProblem(f"{key}.dataset.image_transform", target, str(error))
    if isinstance(error, UnreadableSampleError):
        return ConfigProblem(f"{key}.dataset", config.get("name"), f"{error}; {SKIP_HINT}")
    expected = f"its first samples cannot be read: {type(error).__name__}: {error}"
    return ConfigProblem(f"{key}.dataset", config.get("name"), expected)


def _first_two(source: Samples | StreamedSamples) -> list[Sample]:
    if isinstance(source, StreamedSamples):
        return [sample for sample, _ in zip(source, range(2), strict=False)]
    return first_readable_samples(source)
