"""Facts about the data of a run, which learners check their hyperparameters against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class DataFacts:
    """Facts about the data of a run, known before its networks are built.

    Attributes:
        rows: Samples of every loader by its key below `data` (``train.supervised``, ``val``); None
            for streams of unknown length.
        label_counts: Labels that are trained on, by train loader and name of the class, without
            streams.
        classes: The names of the classes by index, or None where they have none.
        num_classes: How many classes the labels of training and evaluation need, or None without
            labels.
        steps_per_epoch: Optimizer steps of an epoch, or None where it does not end.
    """

    rows: Mapping[str, int | None] = field(default_factory=dict)
    label_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    classes: list[str] | None = None
    num_classes: int | None = None
    steps_per_epoch: int | None = None
