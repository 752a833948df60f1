"""The first batch of a loader, built before training so that mistakes are reported early."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from ...errors import (
    SKIP_HINT,
    ConfigError,
    ConfigProblem,
    TransformError,
    UnreadableSampleError,
    suggest,
)
from ..batches import Batch
from ..field_collation import FieldCollation
from ..loading.collating import build_collation
from ..loading.keys import is_evaluated
from ..loading.partial_fields import PartialFields
from ..samples import Sample, Samples
from ..stacking import source_of
from ..streams import StreamedSamples
from .images import AN_IMAGE, describe_unsupported
from .unreadable import first_readable_samples

log = logging.getLogger(__name__)

_NO_INDEX = "its batches have no index, by which rows that are evaluated twice are known"

_OFFERED = "fields of its samples"

_MAX_READ, _MAX_LOOKED_UP = 1000, 100_000
"""Samples among which each declared field must occur: those that are read, or looked up at once."""


def first_batch(
    source: Samples | StreamedSamples,
    loader: Mapping[str, Any],
    key: str,
    with_views: Callable[[Batch], Batch],
) -> tuple[Batch, PartialFields]:
    """Collates the first samples, and adds the views of them.

    They are two, and as many more as it takes for each field that the data set declares
    (:attr:`Samples.fields`) to be in one sample and not in another.

    Args:
        source: The data set.
        loader: The loader's config.
        key: Its config key.
        with_views: Adds the loader's views to a batch.

    Returns:
        The batch with its views, and the fields that only some samples have.

    Raises:
        ConfigError: If there is no sample, or samples cannot be read, collated or evaluated.
    """
    try:
        samples = _first_two(source)
        samples += _samples_with(source.fields, samples, source)
    except Exception as error:  # custom data sets and transforms raise anything
        raise ConfigError([_reading_problem(error, key, loader)]) from error
    if not samples:
        raise ConfigError([ConfigProblem(f"{key}.dataset", 0, "has no samples")])
    _warn_of_missing(source, samples, f"{key}.dataset")
    collation = build_collation(loader, key)
    _check_policies(collation, samples, f"{key}.collate_fn")
    try:
        batch = collation([*samples, *_lacking(source.fields, samples)])
        partial = PartialFields.of(batch)
        batch = with_views(partial.complete(batch))
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
    return batch, partial


def _samples_with(
    declared: Iterable[str], first: list[Sample], source: Samples | StreamedSamples
) -> list[Sample]:
    """The first samples that have the declared fields which the very first ones lack."""
    missing = {field for field in declared if not any(field in sample for sample in first)}
    found = []
    samples = iter(source) if isinstance(source, StreamedSamples) else _in_order(source)
    searched = islice(samples, _max_searched(source))
    while missing and (sample := next(searched, None)) is not None:
        if missing & sample.keys():
            missing -= sample.keys()
            found.append(sample)
    return found


def _lacking(declared: Iterable[str], samples: list[Sample]) -> list[Sample]:
    """A copy of the first sample without each declared field that all of the samples have."""
    everywhere = [field for field in declared if all(field in sample for sample in samples)]
    return [
        {name: value for name, value in samples[0].items() if name != field} for field in everywhere
    ]


def _in_order(source: Samples) -> Iterator[Sample]:
    return (source[row] for row in range(len(source)))


def _max_searched(source: Samples | StreamedSamples) -> int:
    is_lookup = isinstance(source, Samples) and source.reads_batches
    return _MAX_LOOKED_UP if is_lookup else _MAX_READ


def _warn_of_missing(source: Samples | StreamedSamples, samples: list[Sample], key: str) -> None:
    missing = [field for field in source.fields if not any(field in s for s in samples)]
    if missing:
        searched = f"{_max_searched(source):,}"
        listed = ", ".join(missing)
        log.warning("%s: none of the first %s samples has %s", key, searched, listed)


def _check_policies(collation: Any, samples: list[Sample], key: str) -> None:
    """Checks that the samples have the fields of which a collation makes others."""
    if not isinstance(collation, FieldCollation):
        return
    known = list(dict.fromkeys(name for sample in samples for name in sample))
    sources = {name: source_of(name, policy) for name, policy in collation.fields.items()}
    problems = [
        ConfigProblem(f"{key}.fields.{name}", source, suggest(source, known, noun=_OFFERED))
        for name, source in sources.items()
        if source not in known
    ]
    if problems:
        raise ConfigError(problems)


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
