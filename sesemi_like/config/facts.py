"""Facts about the data of a run, for loss heads' tables and learners' checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..errors import ConfigError, ConfigProblem


@dataclass(frozen=True)
class DataFacts:
    """Facts about the data of a run, known before its networks are built.

    They are plain data and lie in a checkpoint's hyperparameters, so that a learner whose heads
    have tables is rebuilt without the data. Loaders are named by their keys below `data`
    (``train.supervised``, ``val``), except where train loaders alone are meant.

    Attributes:
        rows: Samples of every loader; None for streams of unknown length.
        largest_index: The largest value of every loader's field `index`, which is the position in
            the data set as stored, so that a selection has larger ones than rows; -1 without
            samples, None for streams of unknown length.
        fields: The names of every loader's fields, views included.
        label_counts: Labels that are trained on, by train loader and name of the class, without
            streams.
        class_counts: The same by train loader and index of the class: as many numbers as there are
            classes.
        classes: The names of the classes by index, or None where they have none.
        num_classes: How many classes the labels of training and evaluation need, or None without
            labels.
        steps_per_epoch: Optimizer steps of an epoch, or None where it does not end.
    """

    rows: Mapping[str, int | None] = field(default_factory=dict)
    largest_index: Mapping[str, int | None] = field(default_factory=dict)
    fields: Mapping[str, list[str]] = field(default_factory=dict)
    label_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    class_counts: Mapping[str, list[int]] = field(default_factory=dict)
    classes: list[str] | None = None
    num_classes: int | None = None
    steps_per_epoch: int | None = None

    @classmethod
    def from_plain(cls, given: DataFacts | Mapping[str, Any] | None) -> DataFacts:
        """Takes facts as a checkpoint holds them; those it does not know are left out.

        Args:
            given: Facts, what :meth:`plain` returned, or None for no facts.
        """
        if isinstance(given, DataFacts):
            return given
        known = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in (given or {}).items() if name in known})

    def plain(self) -> dict[str, Any]:
        """The facts as mappings, lists and numbers."""
        return asdict(self)

    def num_indices(self, loader: str) -> int:
        """Rows of a table that has one for every sample of a train loader, by its `index`.

        Args:
            loader: The train loader.

        Raises:
            ConfigError: If there is no such loader, or it is a stream of unknown length.
        """
        largest = self.largest_index.get(f"train.{loader}")
        if largest is None:
            expected = "a loss head keeps a table of its samples, whose number must be known"
            raise ConfigError([ConfigProblem(f"data.train.{loader}", None, expected)])
        return largest + 1

    def labels_by_class(self, loader: str) -> list[int]:
        """Labels of each class that a train loader has, by index of the class.

        Args:
            loader: The train loader.

        Raises:
            ConfigError: If its labels are not known: there are none, or it is a stream.
        """
        if loader not in self.class_counts:
            expected = "a loss head needs the number of its labels of each class"
            raise ConfigError([ConfigProblem(f"data.train.{loader}", None, expected)])
        return self.class_counts[loader]
