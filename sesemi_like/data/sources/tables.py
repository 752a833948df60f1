"""Data sets listed in a table: a CSV file, read strictly, with a row for each image."""

from __future__ import annotations

import csv as csv_module
import logging
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import IO

from ...errors import ConfigError, ConfigProblem, suggest
from ..registry import register_dataset
from ..samples import UNLABELED, Samples
from .image_files import image_samples
from .image_reader import ImageTransform
from .names import comparable, look_alikes, subset_names

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_LIKE_NO_LABEL = frozenset({"nan", "none", "null", "n/a", "na", "unknown", "unlabeled", "?"})
_LABEL = "label"
_ZERO_BYTE = "a zero byte, which no text has; save the table as UTF-8"
_SHOWN = 5

log = logging.getLogger(__name__)


@register_dataset
def csv(
    root: str,
    subset: str | list[str] | None = None,
    image_transform: ImageTransform | None = None,
    path_column: str = "path",
    label_column: str | None = _LABEL,
    split_column: str = "split",
) -> Samples:
    """Images listed in a table with the columns path, label and split.

    The file is UTF-8, with commas and a header. Spaces around a cell do not count, nor in which of
    its forms Unicode writes a character. An empty label and -1 mean unlabeled. Labels that are all
    numbers are classes in numeric order, others in alphabetic order; the classes are those of the
    whole table, whatever the subset.

    Args:
        root: The CSV file; paths in it are relative to its folder.
        subset: A value of the split column or a list of them; None means all rows.
        image_transform: Applied to each image.
        path_column: The column with paths.
        label_column: The column with labels; None reads none. A table without labels need not be
            told so if it has paths and splits alone.
        split_column: The column with subsets; needed only with `subset`.

    Raises:
        ConfigError: If the file is no such table, a column, a subset or a row's image is missing,
            or two labels are one number (``01`` and ``1``); faults of a row with its line.
    """
    wanted = subset_names(subset)
    table = _read(root, path_column, label_column, split_column, has_splits=wanted is not None)
    targets, classes = _classes(table)
    rows = list(range(len(table.lines)))
    if wanted is not None:
        rows = _rows_of(table.splits, [comparable(name) for name in wanted])
    folder = Path(root).parent
    files = _files(table, rows, folder)
    _warn_of_two_labels(table, rows, targets)
    return image_samples(
        folder, files, [targets[row] for row in rows], classes or None, image_transform
    )


@dataclass
class _Table:
    """The columns that are read of a table, a cell for each row.

    Attributes:
        root: The file.
        lines: The line that each row begins in; the first is 1.
        paths: As written.
        labels: Comparable; empty where the table has none.
        splits: Comparable; empty where the table has none.
        faults: Lines and what is wrong there.
    """

    root: str
    lines: list[int] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)

    def raise_if_any(self) -> None:
        """Ends here if a row has a fault; the first ones are reported."""
        told = [f"line {line}: {fault}" for line, fault in sorted(self.faults)]
        if len(told) > _SHOWN:
            told[_SHOWN:] = [f"and {len(told) - _SHOWN} more lines are at fault"]
        if told:
            raise ConfigError(ConfigProblem("root", self.root, text) for text in told)


class _Records:
    """The records of a CSV file that are not empty, with the line each begins in."""

    def __init__(self, file: IO[str]) -> None:
        self.reader = csv_module.reader(file, strict=True, skipinitialspace=True)
        self.line = 1

    def __iter__(self) -> Iterator[list[str]]:
        for cells in self.reader:
            if any(cell.strip() for cell in cells):
                yield cells
            self.line = self.reader.line_num + 1


def _read(
    root: str, path_column: str, label_column: str | None, split_column: str, *, has_splits: bool
) -> _Table:
    if not Path(root).is_file():
        expected = "is a folder" if Path(root).is_dir() else "no such file"
        raise _error(root, f"{expected}; give the path of a CSV file")
    columns: dict[str, str | None] = {"path_column": path_column, "label_column": label_column}
    columns["split_column"] = split_column if has_splits else None
    try:
        with Path(root).open(newline="", encoding="utf-8-sig") as file:
            table = _parsed(root, _Records(file), columns, others={path_column, split_column})
    except UnicodeDecodeError as error:
        raise _error(root, _not_utf8(root)) from error
    except OSError as error:
        raise _error(root, f"cannot be read: {error.strerror or error}") from error
    table.raise_if_any()
    if not table.lines:
        raise _error(root, "the table has no rows")
    return table


def _parsed(
    root: str, records: _Records, columns: Mapping[str, str | None], others: set[str]
) -> _Table:
    table = _Table(root)
    try:
        rows = iter(records)
        header = [comparable(name) for name in next(rows, [])]
        if any("\0" in name for name in header):
            raise _error(root, f"line {records.line}: {_ZERO_BYTE}")
        places = _places(root, header, columns, others)
        for cells in rows:
            if len(cells) != len(header):
                counts = f"{len(cells)} cells where the header has {len(header)}"
                table.faults.append((records.line, counts))
                continue
            path, label, split = ("" if place is None else cells[place] for place in places)
            table.lines.append(records.line)
            table.paths.append(path)
            table.labels.append(comparable(label))
            table.splits.append(comparable(split))
            if fault := _fault(path, label, split):
                table.faults.append((records.line, fault))
    except csv_module.Error as error:
        table.faults.append((records.line, f"{error}; is a quote here not closed?"))
    return table


def _fault(path: str, *cells: str) -> str:
    """What is wrong with the cells of a row; nothing for most."""
    if not path.strip():
        return "no path"
    for cell in (path, *cells):
        if "\0" in cell:
            return _ZERO_BYTE
        if "\n" in cell.strip() or "\r" in cell.strip():
            return f"a cell goes on over several lines ({cell[:40]!r}); is a quote not closed?"
    return ""


def _places(
    root: str, header: list[str], columns: Mapping[str, str | None], others: set[str]
) -> list[int | None]:
    """Where the columns for path, label and split are; None where one is not read."""
    repeated = sorted({name for name in header if name and header.count(name) > 1})
    if repeated:
        raise _error(root, f"its header repeats {', '.join(map(repr, repeated))}")
    problems, places = [], []
    for key, name in columns.items():
        place = header.index(comparable(name)) if name and comparable(name) in header else None
        places.append(place)
        if name is None or place is not None:
            continue
        expected = f"no such column; {suggest(name, header, noun='columns')}"
        if key == "label_column":
            if name == _LABEL and not {*header} - {comparable(other) for other in others} - {""}:
                continue  # paths and splits alone: nothing here could be labels
            expected += "; null reads the table without labels"
        problems.append(ConfigProblem(key, name, expected + _separator_hint(header)))
    if problems:
        raise ConfigError(problems)
    return places


def _separator_hint(header: list[str]) -> str:
    is_other = len(header) == 1 and any(mark in header[0] for mark in ";\t|")
    return "; columns are separated by commas, which this table has none of" if is_other else ""


def _not_utf8(root: str) -> str:
    """Says where a file is not UTF-8, and what it may be instead."""
    with Path(root).open("rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            return "is UTF-16 text; save it as UTF-8"
        file.seek(0)
        for line, content in enumerate(file, start=1):
            try:
                content.decode("utf-8")
            except UnicodeDecodeError as error:
                found = content[error.start : error.start + 1]
                return f"line {line} is not UTF-8 text (byte {found.hex()}); save it as UTF-8"
    return "is not UTF-8 text; save it as UTF-8"


def _classes(table: _Table) -> tuple[list[int], list[str]]:
    """The class index of each row, -1 for none, and the names of the classes in their order.

    Raises:
        ConfigError: If two labels are one number.
    """
    first: dict[str, int] = {}
    for line, label in zip(table.lines, table.labels, strict=True):
        first.setdefault(label, line)
    numbers = {label: Decimal(label) for label in first if _NUMBER.fullmatch(label)}
    names = [label for label in first if label and numbers.get(label) != UNLABELED]
    spelled: dict[Decimal, str] = {}
    for name in names:
        same = spelled.setdefault(numbers[name], name) if name in numbers else name
        if same != name:
            fault = f"label {name!r} is the number that line {first[same]} writes {same!r}"
            table.faults.append((first[name], f"{fault}; write a class in one way"))
    table.raise_if_any()
    _warn_of_odd_names(table.root, {name: first[name] for name in names})
    is_numeric = all(name in numbers for name in names)
    classes = sorted(names, key=lambda name: numbers[name]) if is_numeric else sorted(names)
    number = {name: index for index, name in enumerate(classes)}
    return [number.get(label, UNLABELED) for label in table.labels], classes


def _warn_of_odd_names(root: str, first: Mapping[str, int]) -> None:
    for name, line in first.items():
        if name.casefold() in _LIKE_NO_LABEL:
            log.warning(
                "%s, line %d: %r is taken as a class; leave the label of an unlabeled image empty",
                root, line, name,
            )  # fmt: skip
    for name, other in look_alikes(first):
        log.warning(
            "%s, line %d: class %r looks like %r of line %d, and is another",
            root, first[name], name, other, first[other],
        )  # fmt: skip


def _rows_of(splits: list[str], wanted: list[str]) -> list[int]:
    problems = [
        ConfigProblem(
            "subset", name, f"no row has this split; {suggest(name, known, noun='splits')}"
        )
        for known in [set(splits)]
        for name in wanted
        if name not in known
    ]
    if problems:
        raise ConfigError(problems)
    return [row for row, split in enumerate(splits) if split in wanted]


def _files(table: _Table, rows: list[int], folder: Path) -> list[Path]:
    """The files of some rows.

    Raises:
        ConfigError: If one of them does not exist.
    """
    found = [_found(folder, table.paths[row]) for row in rows]
    missing = [row for row, file in zip(rows, found, strict=True) if file is None]
    if missing:
        first = folder / table.paths[missing[0]]
        expected = f"{len(missing)} of its images do not exist, the first one is {first}"
        raise _error(table.root, f"{expected} (line {table.lines[missing[0]]})")
    return [file for file in found if file is not None]


def _found(folder: Path, written: str) -> Path | None:
    """The file that a path means: as it is written, else without spaces or in another form."""
    stripped = written.strip()
    forms = [unicodedata.normalize(form, stripped) for form in ("NFC", "NFD")]
    for path in dict.fromkeys([written, stripped, *forms]):
        if os.path.isfile(folder / path):
            return folder / path
    return None


def _warn_of_two_labels(table: _Table, rows: list[int], targets: list[int]) -> None:
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


def _error(root: str, expected: str) -> ConfigError:
    return ConfigError([ConfigProblem("root", root, expected)])
