"""What is known of the labels of a run: which are trained on, its classes, and their counts."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_atomically
from .loading.collating import build_collation, makes_targets
from .loading.keys import EVALUATED, TRAIN, config_key
from .samples import UNLABELED, Samples, Targets
from .streams import StreamedSamples

Datasets = Mapping[str, Samples | StreamedSamples]
"""Data sets by split and name: ``train.<loader name>``, ``val`` and ``test``."""


class RunLabels:
    """The labels of a run's data sets.

    Args:
        datasets: All data sets.
        trained: The train loaders, as users name them, whose labels are trained on.
        preferred: The train loader that comes before others, or None.

    Attributes:
        source: The loader whose classes are those of the run, by split and name; None where there
            are no labels. It is the first of those trained on that has labels, `preferred` before
            others, then any train loader and those of evaluation: folders of images whose labels
            nobody reads may have names that mean nothing.
    """

    def __init__(
        self, datasets: Datasets, trained: Sequence[str], preferred: str | None = None
    ) -> None:
        self.datasets, self.trained = datasets, trained
        self.source = self._source(preferred)

    def _source(self, preferred: str | None) -> str | None:
        trained = [TRAIN + name for name in self.trained]
        train = [name for name in self.datasets if name.startswith(TRAIN)]
        train.sort(key=lambda name: (name not in trained, name != f"{TRAIN}{preferred}"))
        candidates = (name for name in (*train, *EVALUATED) if name in self.datasets)
        return next((name for name in candidates if _has_labels(self.datasets[name])), None)

    @property
    def classes(self) -> list[str] | None:
        """The names of the classes, or None where they have none."""
        return self.datasets[self.source].classes if self.source else None

    @property
    def num_classes(self) -> int | None:
        """How many classes the labels of training and evaluation need, or None without labels."""
        counts = []
        for name in {self.source or "", *EVALUATED} & set(self.datasets):
            source = self.datasets[name]
            is_stream = isinstance(source, StreamedSamples)
            if isinstance(source, Samples) and source.targets is not None and len(source):
                counts.append(int(source.targets.max()) + 1)
            if source.classes and (name == self.source or is_stream):
                counts.append(len(source.classes))
        return max(counts, default=None)

    def expect_classes(self, num_classes: int) -> None:
        """Refuses labels that are read with their samples and are none of these classes.

        Args:
            num_classes: How many classes the learner distinguishes.
        """
        for name in (*(TRAIN + name for name in self.trained), *EVALUATED):
            if name in self.datasets:
                self.datasets[name].num_classes = num_classes

    @property
    def trained_samples(self) -> dict[str, Samples]:
        """The data sets whose labels are trained on, by loader; streams are left out."""
        sources = {name: self.datasets[TRAIN + name] for name in self.trained}
        return {name: source for name, source in sources.items() if isinstance(source, Samples)}

    def counts(self) -> dict[str, dict[str, int]]:
        """How many labels of each class are trained on, by loader; streams do not know theirs."""
        return {
            name: dict(sorted(Counter(label for _, _, label in _labeled_rows(source)).items()))
            for name, source in self.trained_samples.items()
        }

    def class_counts(self) -> dict[str, list[int]]:
        """The same by index: as many numbers as the run has classes."""
        length = self.num_classes or 0
        return {
            name: np.bincount(_trained_targets(source), minlength=length).tolist()
            for name, source in self.trained_samples.items()
            if source.targets is not None
        }

    def write_list(self, path: Path) -> None:
        """Writes which labels are trained on, as a table: loader, index, id, class.

        Args:
            path: The CSV file; it appears whole or not at all.
        """
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["loader", "index", "id", "class"])
        for name, source in self.trained_samples.items():
            writer.writerows([name, *row] for row in _labeled_rows(source))
        write_atomically(path, text.getvalue())


def trains_on_labels(
    name: str, config: Mapping[str, Any], fields_read: Collection[str] | None
) -> bool:
    """Whether the labels of a train loader are trained on.

    Args:
        name: Its split and name.
        config: Its config.
        fields_read: The fields that are read of it; None where that is not known.
    """
    if config.get("sampler") == "class_balanced":
        return True
    if makes_targets(build_collation(config, config_key(name))):
        return False
    return fields_read is None or "target" in fields_read


def _has_labels(source: Samples | StreamedSamples) -> bool:
    """Whether there is a label; of a stream, whether its classes are named."""
    if isinstance(source, StreamedSamples):
        return bool(source.classes)
    return source.targets is not None and bool((source.targets >= 0).any())


def _trained_targets(source: Samples) -> Targets:
    assert source.targets is not None
    labels: Targets = source.targets[(source.targets != UNLABELED) & source.is_readable]
    return labels


def _labeled_rows(source: Samples) -> Iterator[tuple[int, str, str]]:
    if source.targets is None:
        return
    for position, name, target, is_readable in zip(
        source.positions, source.row_ids(), source.targets, source.is_readable, strict=True
    ):
        if target != UNLABELED and is_readable:
            label = source.classes[target] if source.classes else str(target)
            yield int(position), name, label
