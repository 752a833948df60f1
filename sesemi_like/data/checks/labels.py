"""What is known of the labels of a run: its classes, which labels are used, and how many."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ...errors import ConfigProblem
from ...files import write_atomically
from ..samples import UNLABELED, Samples, StreamedSamples

TRAIN = "train."
"""What the names of train loaders begin with among all loaders of a run."""

_LISTED = 10

EVALUATED = ("val", "test")

Datasets = Mapping[str, Samples | StreamedSamples]
"""Data sets by split and name: ``train.<loader name>``, ``val`` and ``test``."""


def labeled_loader(datasets: Datasets, trained: Sequence[str]) -> str | None:
    """The loader whose classes are those of the run, or None where there are no labels.

    Args:
        datasets: All data sets.
        trained: The loaders whose labels are trained on. The first of them that has labels it is,
            then any train loader and those of evaluation; folders of images whose labels nobody
            reads may have names that mean nothing.
    """
    train = [name for name in datasets if name.startswith(TRAIN)]
    train.sort(key=lambda name: (name not in trained, name != f"{TRAIN}supervised"))
    for name in (*train, *EVALUATED):
        if name in datasets and _has_labels(datasets[name]):
            return name
    return None


def num_classes_found(datasets: Datasets, labeled: str | None) -> int | None:
    """How many classes the labels of training and evaluation need, or None without labels.

    Args:
        datasets: All data sets.
        labeled: See :func:`labeled_loader`.
    """
    found = []
    for name in {labeled, *EVALUATED}:
        source = datasets.get(name or "")
        if isinstance(source, Samples) and source.targets is not None and len(source):
            found.append(int(source.targets.max()) + 1)
        if source is not None and source.classes and (name == labeled or _is_stream(source)):
            found.append(len(source.classes))
    return max(found, default=None)


def class_problems(datasets: Datasets, labeled: str | None) -> list[ConfigProblem]:
    """Finds classes of evaluation data that training does not know, or the other way round.

    Args:
        datasets: All data sets.
        labeled: See :func:`labeled_loader`.
    """
    known = datasets[labeled].classes if labeled else None
    if not known or not any(name.startswith(TRAIN) for name in datasets):
        return []
    problems = []
    for name in EVALUATED:
        found = getattr(datasets.get(name), "classes", None)
        if found and found != known:
            parts = {"only here": set(found) - set(known), "missing": set(known) - set(found)}
            differing = "; ".join(f"{k}: {', '.join(sorted(v))}" for k, v in parts.items() if v)
            expected = f"classes must be those of training ({differing or 'another order'})"
            problems.append(
                ConfigProblem(f"data.{name}.dataset", f"{len(found)} classes", expected)
            )
    return problems


def _is_stream(source: Samples | StreamedSamples) -> bool:
    return isinstance(source, StreamedSamples)


def _has_labels(source: Samples | StreamedSamples) -> bool:
    """Whether there is a label; of a stream, whether its classes are named."""
    if isinstance(source, StreamedSamples):
        return bool(source.classes)
    return source.targets is not None and bool((source.targets >= 0).any())


def label_warnings(
    source: Samples, num_labels: int | None, num_classes: int | None
) -> Iterator[str]:
    """Says which classes have no label to learn from, and where labels are spread unevenly.

    Args:
        source: A data set whose labels are trained on.
        num_labels: The labels asked for in all, if any.
        num_classes: How many classes there are.
    """
    if source.targets is None:
        return
    shown = source.targets[source.targets != UNLABELED]
    counts = np.bincount(shown, minlength=num_classes or 0)
    names = source.classes or [str(number) for number in range(len(counts))]
    missing = [name for name, count in zip(names, counts, strict=False) if not count]
    if missing:
        listed = ", ".join(missing[:_LISTED]) + (", ..." if len(missing) > _LISTED else "")
        yield f"no label for {len(missing)} of {len(counts)} classes: {listed}"
    elif num_labels is not None and counts.max() - counts.min() > 1:
        least = names[int(counts.argmin())]
        yield (
            f"num_labels: {num_labels} are spread unevenly, from {counts.min()} ({least}, which "
            f"has no more) to {counts.max()} a class"
        )


def label_counts(source: Samples) -> dict[str, int]:
    """How many labels of each class a data set shows."""
    counts = Counter(label for _, _, label in _labeled(source))
    return dict(sorted(counts.items()))


def write_label_list(path: Path, sources: Mapping[str, Samples]) -> None:
    """Writes the labels that data sets show, as a table: loader, index, id, class.

    Args:
        path: The CSV file; it appears whole or not at all.
        sources: The data sets by loader name.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["loader", "index", "id", "class"])
    for name, source in sources.items():
        writer.writerows([name, *row] for row in _labeled(source))
    write_atomically(path, text.getvalue())


def _labeled(source: Samples) -> Iterator[tuple[int, str, str]]:
    if source.targets is None:
        return
    for position, name, target, may_be_read in zip(
        source.positions, source.row_ids(), source.targets, source.may_be_read, strict=True
    ):
        if target != UNLABELED and may_be_read:
            label = source.classes[target] if source.classes else str(target)
            yield int(position), name, label
