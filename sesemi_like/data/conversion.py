"""Conversion of any torch data set to one of dict samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.utils.data import IterableDataset

from .samples import Sample, Samples, as_fields, declared_fields
from .streams import StreamedSamples


class _FieldReader:
    """Reads the samples of any data set as fields."""

    def __init__(self, source: Any) -> None:
        self.source = source

    def __call__(self, position: int) -> Sample:
        return as_fields(self.source[position])


def as_samples(source: Any) -> Samples | StreamedSamples:
    """Converts any torch data set to one of dict samples, which keeps its optional attributes.

    Args:
        source: A map-style data set or an iterable one. `targets` (N class indices, -1 for none),
            `classes` (their names) and `fields` (those that only some samples have) are optional.
    """
    if isinstance(source, Samples | StreamedSamples):
        return source
    if isinstance(source, IterableDataset):
        return StreamedSamples(source)
    targets = getattr(source, "targets", None)
    return Samples(
        _FieldReader(source),
        map(str, range(len(source))),
        None if targets is None else np.asarray(targets, dtype=np.int64),
        list(source.classes) if getattr(source, "classes", None) else None,
        fields=declared_fields(source),
    )
