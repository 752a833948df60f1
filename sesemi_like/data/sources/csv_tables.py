"""Data sets listed in a table: a CSV file with a row for each image."""

from __future__ import annotations

import logging
import os
import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from ...errors import ConfigError, ConfigProblem, suggest
from ..registry import register_dataset
from ..samples import UNLABELED, Samples
from .csv_columns import LABEL_COLUMN, Table, read_table, root_error
from .image_files import image_samples
from .image_reader import ImageTransform
from .name_matching import comparable, look_alikes, subset_names

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_LIKE_NO_LABEL = frozenset({"nan", "none", "null", "n/a", "na", "unknown", "unlabeled", "?"})

log = logging.getLogger(__name__)


@register_dataset
def csv(
    root: str,
    subset: str | list[str] | None = None,
    image_transform: ImageTransform | None = None,
    path_column: str = "path",
    label_column: str | None = LABEL_COLUMN,
    split_column: str = "split",
) -> Samples:
    """Images listed in a table with the columns path, label and split.

    The file is UTF-8, with commas and a header. Spaces around a cell are ignored, and Unicode text
    is compared in its normal form. An empty label and -1 mean unlabeled. Classes are in numeric
    order if all labels are numbers, and in alphabetic order otherwise; they are those of the whole
    table, whatever the subset.

    Args:
        root: The CSV file; paths in it are relative to its folder.
        subset: A value of the split column or a list of them; None means all rows.
        image_transform: Applied to each image.
        path_column: The column with paths.
        label_column: The column with labels; None reads none. It may be missing from a table that
            has only paths and splits.
        split_column: The column with subsets; needed only with `subset`.

    Raises:
        ConfigError: If the file is not such a table, a column, a subset or a row's image is
            missing, or two labels are the same number (``01`` and ``1``); rows are named by line.
    """
    subsets = subset_names(subset)
    table = read_table(
        root,
        path_column=path_column,
        label_column=label_column,
        split_column=split_column,
        reads_splits=subsets is not None,
    )
    targets, classes = classes_of(table)
    rows = list(range(len(table.lines)))
    if subsets is not None:
        rows = _rows_of(table.splits, [comparable(name) for name in subsets])
    folder = Path(root).parent
    files = _files(table, rows, folder)
    _warn_of_conflicting_labels(table, rows, targets)
    return image_samples(
        folder, files, [targets[row] for row in rows], classes or None, image_transform
    )


def classes_of(table: Table) -> tuple[list[int], list[str]]:
    """Numbers the classes: in numeric order if all labels are numbers, else in alphabetic order.

    Args:
        table: A table with labels; an empty one and -1 mean unlabeled.

    Returns:
        The class index of each row, -1 for none, and the names of the classes in their order.

    Raises:
        ConfigError: If two labels are the same number.
    """
    first: dict[str, int] = {}
    for line, label in zip(table.lines, table.labels, strict=True):
        first.setdefault(label, line)
    numbers = {label: Decimal(label) for label in first if _NUMBER.fullmatch(label)}
    names = [label for label in first if label and numbers.get(label) != UNLABELED]
    _check_numbers(table, names, numbers, first)
    _warn_of_unusual_names(table.root, {name: first[name] for name in names})
    is_numeric = all(name in numbers for name in names)
    classes = sorted(names, key=lambda name: numbers[name]) if is_numeric else sorted(names)
    index = {name: number for number, name in enumerate(classes)}
    return [index.get(label, UNLABELED) for label in table.labels], classes


def _check_numbers(
    table: Table, names: list[str], numbers: Mapping[str, Decimal], first: Mapping[str, int]
) -> None:
    """Checks that each number is written in one way; `first` has the first line of each label."""
    spellings: dict[Decimal, str] = {}
    for name in names:
        spelling = spellings.setdefault(numbers[name], name) if name in numbers else name
        if spelling != name:
            fault = f"label {name!r} is the number that line {first[spelling]} writes {spelling!r}"
            table.faults.append((first[name], f"{fault}; write a class in one way"))
    table.raise_if_any()


def _warn_of_unusual_names(root: str, first: Mapping[str, int]) -> None:
    for name, line in first.items():
        if name.casefold() in _LIKE_NO_LABEL:
            log.warning(
                "%s, line %d: %r is taken as a class; leave the label of an unlabeled image empty",
                root, line, name,
            )  # fmt: skip
    for name, other in look_alikes(first):
        log.warning(
            "%s, line %d: class %r looks like %r of line %d, but is a different class",
            root, first[name], name, other, first[other],
        )  # fmt: skip


def _rows_of(splits: list[str], names: list[str]) -> list[int]:
    problems = [
        ConfigProblem(
            "subset", name, f"no row has this split; {suggest(name, known, noun='splits')}"
        )
        for known in [set(splits)]
        for name in names
        if name not in known
    ]
    if problems:
        raise ConfigError(problems)
    return [row for row, split in enumerate(splits) if split in names]


def _files(table: Table, rows: list[int], folder: Path) -> list[Path]:
    """The files of some rows.

    Raises:
        ConfigError: If one of them does not exist.
    """
    files = [_find_file(folder, table.paths[row]) for row in rows]
    missing = [row for row, file in zip(rows, files, strict=True) if file is None]
    if missing:
        first = folder / table.paths[missing[0]]
        expected = f"{len(missing)} of its images do not exist, the first one is {first}"
        raise root_error(table.root, f"{expected} (line {table.lines[missing[0]]})")
    return [file for file in files if file is not None]


def _find_file(folder: Path, text: str) -> Path | None:
    """The file of a path: as written, else without surrounding spaces or in another normal form."""
    stripped = text.strip()
    forms = [unicodedata.normalize(form, stripped) for form in ("NFC", "NFD")]
    for path in dict.fromkeys([text, stripped, *forms]):
        if os.path.isfile(folder / path):
            return folder / path
    return None


def _warn_of_conflicting_labels(table: Table, rows: list[int], targets: list[int]) -> None:
    labeled: dict[str, int] = {}
    for row in rows:
        path = comparable(table.paths[row])
        first = labeled.setdefault(path, row) if targets[row] != UNLABELED else row
        if targets[first] != targets[row]:
            log.warning(
                "%s, line %d: %s has the label %r here and %r in line %d",
                table.root, table.lines[row], path, table.labels[row],
                table.labels[first], table.lines[first],
            )  # fmt: skip
