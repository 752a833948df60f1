"""Strict reading of the columns for path, label and split of a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ...errors import ConfigError, ConfigProblem, suggest
from .name_matching import comparable

LABEL_COLUMN = "label"

_ZERO_BYTE = "a zero byte, which text cannot have; save the table as UTF-8"
_SHOWN = 5


@dataclass
class Table:
    """The cells of some columns of a CSV file, and what is wrong with its rows.

    Attributes:
        root: The file.
        lines: The line in which each row begins, counted from 1.
        paths: The cells of the column with paths, unchanged.
        labels: The cells of the column with labels, comparable; empty if there is no such column.
        splits: The cells of the column with splits, comparable; empty if it is not read.
        faults: Lines, and what is wrong there.
    """

    root: str
    lines: list[int] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)

    def raise_if_any(self) -> None:
        """Raises the first faults of rows, if there are any.

        Raises:
            ConfigError: With up to five faults, and the number of others.
        """
        faults = [f"line {line}: {fault}" for line, fault in sorted(self.faults)]
        if len(faults) > _SHOWN:
            faults[_SHOWN:] = [f"and {len(faults) - _SHOWN} more lines with errors"]
        if faults:
            raise ConfigError(ConfigProblem("root", self.root, fault) for fault in faults)


def read_table(
    root: str, *, path_column: str, label_column: str | None, split_column: str, reads_splits: bool
) -> Table:
    """Reads a CSV file: UTF-8, with commas and a header.

    Args:
        root: The file.
        path_column: The column with paths.
        label_column: The column with labels; None reads none.
        split_column: The column with splits.
        reads_splits: Whether the column with splits is read.

    Raises:
        ConfigError: If the file cannot be read, is not such a table, has no rows, lacks a column,
            or has rows with errors.
    """
    if not Path(root).is_file():
        expected = "is a folder" if Path(root).is_dir() else "no such file"
        raise root_error(root, f"{expected}; give the path of a CSV file")
    columns: dict[str, str | None] = {"path_column": path_column, "label_column": label_column}
    columns["split_column"] = split_column if reads_splits else None
    try:
        with Path(root).open(newline="", encoding="utf-8-sig") as file:
            table = _parse(root, Records(file), columns, others={path_column, split_column})
    except UnicodeDecodeError as error:
        raise root_error(root, describe_encoding(root)) from error
    except OSError as error:
        raise root_error(root, f"cannot be read: {error.strerror or error}") from error
    table.raise_if_any()
    if not table.lines:
        raise root_error(root, "the table has no rows")
    return table


def root_error(root: str, expected: str) -> ConfigError:
    """A problem of the file as a whole.

    Args:
        root: The file.
        expected: What is wrong and what is required.
    """
    return ConfigError([ConfigProblem("root", root, expected)])


class Records:
    """The non-empty records of a CSV file, and the line in which each begins.

    Args:
        file: The file, opened without translation of line ends.

    Attributes:
        line: The line of the record that was read last, from 1.
    """

    def __init__(self, file: IO[str]) -> None:
        self.reader = csv.reader(file, strict=True, skipinitialspace=True)
        self.line = 1

    def __iter__(self) -> Iterator[list[str]]:
        for cells in self.reader:
            if any(cell.strip() for cell in cells):
                yield cells
            self.line = self.reader.line_num + 1


def _parse(
    root: str, records: Records, columns: Mapping[str, str | None], others: set[str]
) -> Table:
    table = Table(root)
    try:
        rows = iter(records)
        header = [comparable(name) for name in next(rows, [])]
        if any("\0" in name for name in header):
            raise root_error(root, f"line {records.line}: {_ZERO_BYTE}")
        places = _column_places(root, header, columns, others)
        for cells in rows:
            _add_row(table, records.line, cells, len(header), places)
    except csv.Error as error:
        table.faults.append((records.line, f"{error}; is a quote here not closed?"))
    return table


def _add_row(
    table: Table, line: int, cells: list[str], num_columns: int, places: list[int | None]
) -> None:
    if len(cells) != num_columns:
        counts = f"{len(cells)} cells where the header has {num_columns}"
        table.faults.append((line, counts))
        return
    path, label, split = ("" if place is None else cells[place] for place in places)
    table.lines.append(line)
    table.paths.append(path)
    table.labels.append(comparable(label))
    table.splits.append(comparable(split))
    if fault := _find_fault(path, label, split):
        table.faults.append((line, fault))


def _find_fault(path: str, *cells: str) -> str:
    """What is wrong with the cells of a row; empty if nothing is."""
    if not path.strip():
        return "no path"
    for cell in (path, *cells):
        if "\0" in cell:
            return _ZERO_BYTE
        if "\n" in cell.strip() or "\r" in cell.strip():
            return f"a cell spans several lines ({cell[:40]!r}); is a quote not closed?"
    return ""


def _column_places(
    root: str, header: list[str], columns: Mapping[str, str | None], others: set[str]
) -> list[int | None]:
    """The places of the columns for path, label and split; None for one that is not read."""
    repeated = sorted({name for name in header if name and header.count(name) > 1})
    if repeated:
        raise root_error(root, f"its header repeats {', '.join(map(repr, repeated))}")
    problems, places = [], []
    for key, name in columns.items():
        place = header.index(comparable(name)) if name and comparable(name) in header else None
        places.append(place)
        if name is None or place is not None:
            continue
        expected = f"no such column; {suggest(name, header, noun='columns')}"
        if key == "label_column":
            other_names = {comparable(other) for other in others}
            if name == LABEL_COLUMN and not {*header} - other_names - {""}:
                continue  # paths and splits alone: no column could hold labels
            expected += "; null reads the table without labels"
        problems.append(ConfigProblem(key, name, expected + _separator_hint(header)))
    if problems:
        raise ConfigError(problems)
    return places


def _separator_hint(header: list[str]) -> str:
    has_others = len(header) == 1 and any(mark in header[0] for mark in ";\t|")
    return "; columns are separated by commas, and this table has none" if has_others else ""


def describe_encoding(root: str) -> str:
    """Says where a file is not UTF-8, and what it may be instead.

    Args:
        root: The file.
    """
    with Path(root).open("rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            return "is UTF-16 text; save it as UTF-8"
        file.seek(0)
        for line, content in enumerate(file, start=1):
            try:
                content.decode("utf-8")
            except UnicodeDecodeError as error:
                byte = content[error.start : error.start + 1].hex()
                return f"line {line} is not UTF-8 text (byte {byte}); save it as UTF-8"
    return "is not UTF-8 text; save it as UTF-8"
