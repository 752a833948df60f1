"""Which labels are kept: a deterministic, stratified choice, the same on every machine."""

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

    Each class's rows are put in an order drawn from ``PCG64((seed, class))`` and the first ones are
    taken, so a larger budget keeps what a smaller one kept.

    Args:
        targets: A class index for each row (N,), -1 for none.
        labels_per_class: Labels of each class.
        num_labels: Labels in all, spread over the classes as evenly as possible: see
            :func:`evenly`; lower classes get one more where it does not divide.
        label_fraction: Share of each class's labels, in (0, 1]; rounded, at least one.
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
        wanted = _of_each(labels_per_class, sizes, names)
    elif num_labels is not None:
        wanted = evenly(num_labels, sizes)
    else:
        wanted = np.maximum(1, np.round(float(label_fraction or 0) * sizes).astype(np.int64))
    kept = [
        rows[
            np.random.Generator(np.random.PCG64([seed, int(label)])).permutation(len(rows))[:count]
        ]
        for label, rows, count in zip(labels, rows_by_class, wanted, strict=True)
    ]
    return np.sort(np.concatenate(kept)) if kept else np.empty(0, dtype=np.int64)


def _of_each(count: int, sizes: Rows, names: list[str]) -> Rows:
    """As many labels of every class."""
    problems = [
        ConfigProblem(
            "labels_per_class",
            count,
            f"class {name!r} has only {size} samples, and {count} are wanted",
        )
        for name, size in zip(names, sizes, strict=True)
        if size < count
    ]
    if problems:
        raise ConfigError(problems)
    return np.full_like(sizes, count)


def evenly(count: int, sizes: Rows) -> Rows:
    """Deals labels to the classes in turn until there are no more; a class that is used up is out.

    Args:
        count: Labels in all.
        sizes: Rows of each class (C,).

    Returns:
        Labels of each class (C,).

    Raises:
        ConfigError: If there are not so many.
    """
    if count > sizes.sum():
        expected = f"there are only {sizes.sum()} samples with a label"
        raise ConfigError([ConfigProblem("num_labels", count, expected)])
    given = np.zeros_like(sizes)
    while (left := count - int(given.sum())) > 0:
        takers = np.flatnonzero(given < sizes)
        if left < len(takers):
            given[takers[:left]] += 1
        else:
            given[takers] = np.minimum(sizes[takers], given[takers] + left // len(takers))
    return given


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
    """Applies a label budget: which rows are read, and which of their labels are seen.

    Args:
        samples: A data set, labeled or not.
        part: ``labelled`` reads the rows whose labels are kept, ``unlabelled`` the others, ``all``
            every row. Without a budget every given label is kept.
        labels_per_class: See :func:`choose_labels`, as the next two.
        num_labels: Labels kept in all.
        label_fraction: Share of labels kept.
        label_seed: Seeds the choice.
        hide_labels: Whether labels that are not kept read -1. False shows them, for measuring how
            well unlabeled data are classified; never train on them.

    Raises:
        ConfigError: If the part is unknown, data without labels are asked for labels, or
            :func:`choose_labels` raises it.
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
    shown = np.full_like(samples.targets, UNLABELED)
    shown[kept] = samples.targets[kept]
    everything = np.arange(len(samples))
    rows = {
        "labelled": kept,
        "unlabelled": np.setdiff1d(everything, kept),
        "all": everything,
    }[part]
    return samples.select(rows, (shown if hide_labels else samples.targets)[rows])
