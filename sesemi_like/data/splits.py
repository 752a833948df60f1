"""The choice of labels that are kept: deterministic, stratified, the same on every machine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..config.choices import PARTS
from ..errors import ConfigError, ConfigProblem, suggest
from .samples import UNLABELED, Samples, Targets

Rows = npt.NDArray[np.int64]


def choose_labels(
    targets: Targets,
    *,
    labels_per_class: int | None = None,
    num_labels: int | None = None,
    label_fraction: float | None = None,
    seed: int = 0,
    classes: list[str] | None = None,
) -> Rows:
    """Chooses the rows whose labels are kept.

    The rows of each class are ordered by a permutation drawn from ``PCG64((seed, class))`` and the
    first ones are kept, so a larger budget keeps all that a smaller one keeps.

    Args:
        targets: A class index for each row (N,), -1 for none.
        labels_per_class: The number of labels of each class.
        num_labels: The total number of labels, divided among the classes as evenly as possible: see
            :func:`divide_evenly`; lower classes get one more where a remainder is left.
        label_fraction: The fraction of each class's labels, in (0, 1]; rounded, at least one.
        seed: Seeds the choice.
        classes: The names of the classes, for messages.

    Returns:
        The rows, ascending.

    Raises:
        ConfigError: If no budget or a wrong one is given, or there are too few labels.
    """
    _check_budget(labels_per_class, num_labels, label_fraction)
    labels = np.unique(targets[targets != UNLABELED])
    rows_by_class = [np.flatnonzero(targets == label) for label in labels]
    sizes = np.array([len(rows) for rows in rows_by_class], dtype=np.int64)
    names = [classes[label] if classes else str(label) for label in labels]
    if labels_per_class is not None:
        counts = _equal_counts(labels_per_class, sizes, names)
    elif num_labels is not None:
        counts = divide_evenly(num_labels, sizes)
    else:
        counts = np.maximum(1, np.round(float(label_fraction or 0) * sizes).astype(np.int64))
    kept = [
        _permute(rows, seed, int(label))[:count]
        for label, rows, count in zip(labels, rows_by_class, counts, strict=True)
    ]
    return np.sort(np.concatenate(kept)) if kept else np.empty(0, dtype=np.int64)


def _permute(rows: Rows, seed: int, label: int) -> Rows:
    generator = np.random.Generator(np.random.PCG64([seed, label]))
    return rows[generator.permutation(len(rows))]


def _equal_counts(count: int, sizes: Rows, names: list[str]) -> Rows:
    """The same number of labels for every class, each of which must have as many."""
    problems = [
        ConfigProblem(
            "labels_per_class",
            count,
            f"class {name!r} has only {size} samples, fewer than {count}",
        )
        for name, size in zip(names, sizes, strict=True)
        if size < count
    ]
    if problems:
        raise ConfigError(problems)
    return np.full_like(sizes, count)


def divide_evenly(count: int, sizes: Rows) -> Rows:
    """Divides a number of labels among the classes as evenly as their sizes allow.

    Labels are dealt to the classes in turn; a class without further rows is skipped.

    Args:
        count: The total number of labels.
        sizes: The number of rows of each class (C,).

    Returns:
        The number of labels of each class (C,).

    Raises:
        ConfigError: If the classes have fewer rows in total.
    """
    if count > sizes.sum():
        expected = f"there are only {sizes.sum()} samples with a label"
        raise ConfigError([ConfigProblem("num_labels", count, expected)])
    counts = np.zeros_like(sizes)
    while (remaining := count - int(counts.sum())) > 0:
        open_classes = np.flatnonzero(counts < sizes)
        if remaining < len(open_classes):
            counts[open_classes[:remaining]] += 1
        else:
            share = counts[open_classes] + remaining // len(open_classes)
            counts[open_classes] = np.minimum(sizes[open_classes], share)
    return counts


def _check_budget(
    labels_per_class: int | None, num_labels: int | None, label_fraction: float | None
) -> None:
    budget = {
        "labels_per_class": labels_per_class,
        "num_labels": num_labels,
        "label_fraction": label_fraction,
    }
    given = {key: value for key, value in budget.items() if value is not None}
    problems = [
        ConfigProblem(key, value, "must be at least 1")
        for key, value in given.items()
        if key != "label_fraction" and value < 1
    ]
    if label_fraction is not None and not 0 < label_fraction <= 1:
        problems.append(ConfigProblem("label_fraction", label_fraction, "must lie in (0, 1]"))
    if len(given) != 1:
        problems.append(
            ConfigProblem("labels_per_class", str(given), f"give one of {', '.join(budget)}")
        )
    if problems:
        raise ConfigError(problems)


def choose_part(
    samples: Samples,
    *,
    part: str = "all",
    labels_per_class: int | None = None,
    num_labels: int | None = None,
    label_fraction: float | None = None,
    label_seed: int = 0,
    hide_labels: bool = True,
) -> Samples:
    """Applies a label budget: selects the rows that are read, and the labels that are visible.

    Args:
        samples: A data set, labeled or not.
        part: ``labelled`` reads the rows whose labels are kept, ``unlabelled`` the others, ``all``
            every row. Without a budget every given label is kept.
        labels_per_class: See :func:`choose_labels`, as for the next two.
        num_labels: The total number of labels kept.
        label_fraction: The fraction of labels kept.
        label_seed: Seeds the choice.
        hide_labels: Whether labels that are not kept are replaced by -1. False keeps them visible,
            to measure how well unlabeled data are classified; never train on them.

    Raises:
        ConfigError: If the part is unknown, a part or labels of data without labels are requested,
            or :func:`choose_labels` raises it.
    """
    budget = (labels_per_class, num_labels, label_fraction)
    if part not in PARTS:
        expected = suggest(part, PARTS, noun="parts")
        raise ConfigError([ConfigProblem("part", part, expected)])
    if samples.targets is None:
        if part == "all" and all(amount is None for amount in budget):
            return samples
        raise ConfigError([ConfigProblem("part", part, "these data have no labels to choose from")])
    if all(amount is None for amount in budget):
        kept = np.flatnonzero(samples.targets != UNLABELED)
    else:
        kept = choose_labels(
            samples.targets,
            labels_per_class=labels_per_class,
            num_labels=num_labels,
            label_fraction=label_fraction,
            seed=label_seed,
            classes=samples.classes,
        )
    visible = np.full_like(samples.targets, UNLABELED)
    visible[kept] = samples.targets[kept]
    everything = np.arange(len(samples))
    rows = {
        "labelled": kept,
        "unlabelled": np.setdiff1d(everything, kept),
        "all": everything,
    }[part]
    return samples.select(rows, (visible if hide_labels else samples.targets)[rows])
