"""What is wrong or odd about the labels of a run: classes that differ, or have no label."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from ...errors import ConfigProblem
from ..loading.keys import EVALUATED, TRAIN, config_key
from ..run_labels import RunLabels
from ..samples import UNLABELED, Samples

_LISTED = 10


def class_problems(labels: RunLabels, names: Collection[str] = EVALUATED) -> list[ConfigProblem]:
    """Finds classes of evaluation data that training does not have, or the other way round.

    Args:
        labels: The labels of all data sets.
        names: The loaders that are compared with training, by split and name.
    """
    datasets, known = labels.datasets, labels.classes
    if not known or not any(name.startswith(TRAIN) for name in datasets):
        return []
    problems = []
    for name in (name for name in names if name in datasets):
        classes = datasets[name].classes
        if classes and classes != known:
            parts = {
                "only here": set(classes) - set(known),
                "missing": set(known) - set(classes),
            }
            differing = "; ".join(f"{k}: {', '.join(sorted(v))}" for k, v in parts.items() if v)
            expected = f"classes must be those of training ({differing or 'another order'})"
            key = f"{config_key(name)}.dataset"
            problems.append(ConfigProblem(key, f"{len(classes)} classes", expected))
    return problems


def label_warnings(
    source: Samples, num_labels: int | None, num_classes: int | None
) -> Iterator[str]:
    """Warns of classes without a label to learn from, and of labels that are spread unevenly.

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
