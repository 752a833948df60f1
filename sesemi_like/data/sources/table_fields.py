"""The fields of a table's rows, read in batches: vectors of columns, single columns, and texts.

Shapes: N rows of the table, B rows of a batch, D values of a vector.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...errors import ConfigError, ConfigProblem, UnreadableSampleError, suggest
from ..readers import Draws
from ..samples import Sample
from .csv_columns import root_error
from .table_files import Column, Numbers, TableFile, Texts, as_numbers, has_nan

Positions = npt.NDArray[np.int64]

_GLOB = frozenset("*?[")
_BLOCK = 65536


@dataclass(frozen=True)
class FieldSpec:
    """A field as the config describes it.

    Attributes:
        name: Its name.
        columns: A column, a list of columns and globs, or a glob; a single column keeps its shape,
            several become a vector.
        is_text: Whether it is text in any case.
        is_optional: Whether rows may lack it.
    """

    name: str
    columns: str | Sequence[str]
    is_text: bool = False
    is_optional: bool = False

    @property
    def is_vector(self) -> bool:
        """Whether it is a vector of columns."""
        return not isinstance(self.columns, str) or bool(_GLOB & set(self.columns))

    def chosen(self, names: Sequence[str], others: Sequence[str | None]) -> list[str]:
        """The names of its columns, in the order of the table within a glob.

        Args:
            names: The columns of the table; one that is named as the glob is meant itself.
            others: Columns that no glob chooses: of targets, ids and splits.

        Raises:
            ConfigError: If there is no such column.
        """
        chosen: list[str] = []
        for pattern in [self.columns] if isinstance(self.columns, str) else self.columns:
            found = [pattern] if pattern in names else []
            if not found and _GLOB & set(pattern):
                found = [n for n in names if fnmatchcase(n, pattern) and n not in others]
            if not found:
                expected = f"no such column; {suggest(pattern, names, noun='columns')}"
                raise ConfigError([ConfigProblem(f"fields.{self.name}", pattern, expected)])
            chosen += [name for name in found if name not in chosen]
        return chosen


@dataclass
class Field:
    """A field of the rows of one table.

    Attributes:
        spec: What it is.
        columns: Its columns; those in memory are one.
        missing: Which rows lack it, bool (N,); None where nan is looked for as rows are read.
    """

    spec: FieldSpec
    columns: list[Column]
    missing: npt.NDArray[np.bool_] | None

    def take(self, rows: Positions) -> Any:
        """Reads some rows, none of which lacks it.

        Args:
            rows: Their numbers in this table, int64 (B,).

        Returns:
            float32 or int64 (B, ...), or B texts.

        Raises:
            UnreadableSampleError: If a number in a mapped file is nan.
        """
        first = self.columns[0].values
        if isinstance(first, list):
            return [first[row] for row in rows]
        for column in self.columns if self.missing is None else ():
            lacking = rows[has_nan(np.asarray(column.values)[rows])]
            if len(lacking):
                raise UnreadableSampleError(f"row {lacking[0]}: no value in column {column.name!r}")
        return _joined([np.asarray(column.values)[rows] for column in self.columns])


def build_field(spec: FieldSpec, table: TableFile, others: Sequence[str | None]) -> Field:
    """Reads the columns of a field.

    Args:
        spec: What it is.
        table: The table.
        others: Columns that no glob chooses.

    Raises:
        ConfigError: If a column does not exist, values are missing, or texts and numbers mixed.
    """
    columns = [table.read(name, spec.is_text) for name in spec.chosen(table.names, others)]
    texts = [column.name for column in columns if column.is_text]
    if texts and (spec.is_vector or len(columns) > 1):
        expected = f"column {texts[0]!r} is text, of which no vector can be made"
        raise ConfigError([ConfigProblem(f"fields.{spec.name}", spec.columns, expected)])
    if any(column.missing is None for column in columns) and not spec.is_optional:
        return Field(spec, columns, None)
    is_mapped = any(column.missing is None for column in columns)
    for column in columns:
        if column.missing is None:
            column.missing = _nan_rows(np.asarray(column.values))
    missing = _missing(spec, table, columns)
    if is_mapped:
        return Field(spec, columns, missing)
    if spec.is_vector:
        joined = _joined([np.asarray(column.values) for column in columns])
        columns = [Column(spec.name, joined, missing)]
    return Field(spec, columns, missing)


def _nan_rows(values: Numbers) -> npt.NDArray[np.bool_]:
    """Which rows of a mapped file have a nan, read block by block."""
    starts = range(0, len(values), _BLOCK)
    return np.concatenate([has_nan(values[start : start + _BLOCK]) for start in starts])


def _missing(spec: FieldSpec, table: TableFile, columns: Sequence[Column]) -> npt.NDArray[np.bool_]:
    """The rows that lack a field: an optional one, and all of it."""
    masks = np.stack([np.asarray(column.missing) for column in columns])
    lacks_all: npt.NDArray[np.bool_] = np.all(masks, axis=0)
    lacks_some = np.any(masks, axis=0)
    wrong = lacks_some & ~lacks_all if spec.is_optional else lacks_some
    if wrong.any():
        hint = "; a row has all columns of an optional field or none" if spec.is_optional else ""
        faults = [
            (int(row), f"no value in column {columns[int(masks[:, row].argmax())].name!r}{hint}")
            for row in np.flatnonzero(wrong)
        ]
        raise table.refuse(faults)
    return lacks_all


def _joined(parts: Sequence[Numbers]) -> Numbers:
    """Columns (B,) or (B, D) side by side; a single one keeps its shape."""
    if len(parts) == 1:
        return as_numbers(parts[0])
    numbers = [as_numbers(part).reshape(len(part), math.prod(part.shape[1:])) for part in parts]
    return as_numbers(np.concatenate(numbers, axis=1))


@dataclass
class TableReader:
    """Reads the rows of one or several tables, one after the other, in batches.

    Attributes:
        fields: The fields of each table, the same ones in all.
        sizes: The rows of each table.
        stamp: What distinguishes the tables from their own earlier content.
    """

    fields: list[list[Field]]
    sizes: list[int]
    stamp: str
    draws: Draws = field(default=Draws.NOTHING, init=False)

    @property
    def specs(self) -> list[FieldSpec]:
        """What the fields are."""
        return [column.spec for column in self.fields[0]]

    def __call__(self, position: int) -> Sample:
        """Reads one row; fields that it lacks are left out."""
        taken = self.take(np.array([position]))
        return {
            name: values[0]
            for name, values in taken.items()
            if not name.endswith(".row") and len(values)
        }

    def take(self, positions: Positions) -> dict[str, Any]:
        """Reads several rows.

        Args:
            positions: Their numbers over all tables, int64 (B,).

        Returns:
            Each field with its rows, float32 or int64 (B, ...), or a list of texts; an optional one
            has those of the rows that have it, whose places in the batch are ``<field>.row``.
        """
        ends = np.cumsum(self.sizes)
        tables = np.searchsorted(ends, positions, side="right")
        rows = positions - (ends - np.array(self.sizes, dtype=np.int64))[tables]
        fields: dict[str, Any] = {}
        for number, spec in enumerate(self.specs):
            of_tables = [table[number] for table in self.fields]
            present = self._present(of_tables, tables, rows)
            fields[spec.name] = _in_order(of_tables, tables[present], rows[present])
            if spec.is_optional:
                fields[f"{spec.name}.row"] = torch.from_numpy(present)
        return fields

    def _present(self, fields: Sequence[Field], tables: Positions, rows: Positions) -> Positions:
        """The places in a batch whose rows have a field."""
        has = np.ones(len(rows), dtype=bool)
        for number, of_table in enumerate(fields):
            if of_table.missing is not None:
                own = tables == number
                has[own] = ~of_table.missing[rows[own]]
        return np.flatnonzero(has)


def _in_order(fields: Sequence[Field], tables: Positions, rows: Positions) -> Any:
    """The values of rows of several tables, in the order of the rows."""
    if len(fields) == 1:
        values = fields[0].take(rows)
        return values if isinstance(values, list) else torch.from_numpy(values)
    parts = [fields[number].take(rows[tables == number]) for number in range(len(fields))]
    order = np.concatenate([np.flatnonzero(tables == number) for number in range(len(fields))])
    if isinstance(parts[0], list):
        texts: Texts = [text for part in parts for text in part]
        return [texts[place] for place in np.argsort(order)]
    return torch.from_numpy(np.concatenate(parts)[np.argsort(order)])


def check_alike(tables: Sequence[TableFile], fields: Sequence[Sequence[Field]]) -> None:
    """Checks that the fields of several tables are of one kind and size.

    Args:
        tables: The tables.
        fields: The fields of each, the same ones in all.

    Raises:
        ConfigError: If they are not.
    """
    for number, first in enumerate(fields[0]):
        shapes = [_shape(of_table[number]) for of_table in fields]
        for table, shape in zip(tables, shapes, strict=True):
            if shape != shapes[0]:
                expected = f"field {first.spec.name!r} is {shape}, in {tables[0].path} {shapes[0]}"
                raise root_error(str(table.path), expected)


def _shape(of_table: Field) -> str:
    if of_table.columns[0].is_text:
        return "text"
    values = of_table.take(np.empty(0, dtype=np.int64))
    return f"{values.dtype} {tuple(values.shape[1:])}"
