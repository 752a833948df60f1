"""Data sets of tables: vectors, single columns and texts by field, a label by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConfigError, ConfigProblem, suggest
from ..registry import register_dataset
from ..samples import Samples
from .csv_columns import Table
from .csv_tables import classes_of
from .name_matching import comparable, subset_names
from .table_fields import FieldSpec, TableReader, build_field, check_alike
from .table_files import FORMATS, Column, TableFile, open_table

_FIELDS = "needs a mapping of fields: each a column, a list of columns, or a glob such as 'x*'"


@register_dataset
def table(
    root: str,
    subset: str | list[str] | None = None,
    image_transform: Any = None,
    fields: Mapping[str, Any] | None = None,
    target_column: str | None = None,
    id_column: str | None = None,
    split_column: str = "split",
    text: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> Samples:
    """The rows of a table, a CSV, Parquet, .npz or .npy file, or of a folder of .npy files.

    Each field is a column, which keeps its shape, or several, which become a vector (D,). Numbers
    are float32, or int64 where all are whole; lists in Parquet are vectors. CSV is read as the
    kind `csv` reads it; a column is text where no cell is a number. ``.npy`` files are mapped into
    memory: only rows that are read are loaded.

    Args:
        root: The file; or a folder of .npy files, whose names are the columns; or a folder of
            tables, whose names are the subsets.
        subset: A value of the split column or a list of them, or tables in the folder; None means
            all.
        image_transform: Must be None: there are no images.
        fields: By name a column, a list of columns and globs, or a glob.
        target_column: The column with labels; None has no labels. As in the kind `csv` an empty one
            and -1 mean unlabeled, and classes are those of the whole table.
        id_column: The column with the names of the rows; None numbers them.
        split_column: The column with subsets; needed only with `subset`.
        text: Fields that are text even where their cells are numbers.
        optional: Fields that rows may lack: their cells are empty, null or nan.

    Raises:
        ConfigError: If the file is no such table, a column or a subset is missing, a row lacks a
            value, or lists are of unequal lengths; rows are named.
    """
    if image_transform is not None:
        expected = "a table has no images; views are made of its fields"
        raise ConfigError([ConfigProblem("image_transform", image_transform, expected)])
    specs = _specs(fields, text, optional)
    subsets = subset_names(subset)
    tables, names = _open(Path(root), subsets)
    columns = [target_column, id_column, split_column]
    content = [[build_field(spec, table, columns) for spec in specs] for table in tables]
    check_alike(tables, content)
    targets, classes = _labels(root, tables, target_column)
    samples = Samples(
        TableReader(
            content,
            [table.num_rows for table in tables],
            "\n".join(table.stamp for table in tables),
        ),
        _ids(tables, names, id_column),
        targets,
        classes,
        fields=[spec.name for spec in specs if spec.is_optional],
    )
    if subsets is None or names is not None:
        return samples
    return samples.select(_rows_of_splits(tables[0], split_column, subsets))


def _specs(fields: Any, text: Sequence[str], optional: Sequence[str]) -> list[FieldSpec]:
    if not isinstance(fields, Mapping) or not fields:
        raise ConfigError([ConfigProblem("fields", fields, _FIELDS)])
    problems = [
        ConfigProblem(f"fields.{name}", columns, _FIELDS)
        for name, columns in fields.items()
        if not _names_columns(columns) or name in ("target", "index")
    ]
    for key, names in (("text", text), ("optional", optional)):
        problems += [
            ConfigProblem(key, name, f"no such field; {suggest(name, fields, noun='fields')}")
            for name in names
            if name not in fields
        ]
    if problems:
        raise ConfigError(problems)
    return [
        FieldSpec(name, columns, name in text, name in optional) for name, columns in fields.items()
    ]


def _names_columns(columns: Any) -> bool:
    if isinstance(columns, str):
        return True
    return (
        isinstance(columns, Sequence)
        and bool(columns)
        and all(isinstance(name, str) for name in columns)
    )


def _open(root: Path, subsets: list[str] | None) -> tuple[list[TableFile], list[str] | None]:
    """Opens the tables of a data set; the second is their names, where they are the subsets."""
    if not root.exists():
        known = sorted(path.name for path in root.parent.iterdir()) if root.parent.is_dir() else []
        beside = f"; {suggest(root.name, known, noun=f'{root.parent} has')}" if known else ""
        raise ConfigError([ConfigProblem("root", str(root), f"no such file or folder{beside}")])
    if root.is_file() and root.suffix.lower() not in FORMATS:
        expected = f"needs a file of {', '.join(filter(None, FORMATS))}, or a folder"
        raise ConfigError([ConfigProblem("root", str(root), expected)])
    parts = _tables_in(root)
    if root.is_file() or not parts:
        return [open_table(root)], None
    unknown = [name for name in subsets or [] if name not in parts]
    if unknown:
        raise ConfigError(
            ConfigProblem("subset", name, f"no such table; {suggest(name, parts, noun='tables')}")
            for name in unknown
        )
    names = list(parts) if subsets is None else subsets
    return [open_table(parts[name]) for name in names], names


def _tables_in(folder: Path) -> dict[str, Path]:
    """The tables in a folder by name; none where it is a table of .npy files itself."""
    if folder.is_file() or any(folder.glob("*.npy")):
        return {}
    paths = sorted(folder.iterdir())
    tables = [path for path in paths if path.is_file() and path.suffix.lower() in FORMATS]
    tables += [path for path in paths if path.is_dir() and any(path.glob("*.npy"))]
    return {comparable(path.name if path.is_dir() else path.stem): path for path in tables}


def _labels(
    root: str, tables: Sequence[TableFile], name: str | None
) -> tuple[Any, list[str] | None]:
    """The class index of each row of all tables, and the names of the classes."""
    if name is None:
        return None, None
    labels: list[str] = []
    lines: list[int] = []
    for table in tables:
        labels += _cells(table, "target_column", name)
        lines += table.lines or range(table.num_rows)
    targets, classes = classes_of(Table(root, lines=lines, labels=labels))
    return np.asarray(targets, dtype=np.int64), classes or None


def _cells(table: TableFile, key: str, name: str) -> list[str]:
    """The cells of a column as text, empty where there is no value."""
    if name not in table.names:
        expected = f"no such column; {suggest(name, table.names, noun='columns')}"
        raise ConfigError([ConfigProblem(key, name, expected)])
    column: Column = table.read(name, table.lines is not None)
    if isinstance(column.values, list):
        return column.values
    if column.values.ndim != 1:
        expected = f"has a shape of {column.values.shape}; needs one value a row"
        raise ConfigError([ConfigProblem(key, name, expected)])
    values = np.asarray(column.values)
    if values.dtype.kind == "f" and bool((values[~np.isnan(values)] % 1 == 0).all()):
        return ["" if np.isnan(value) else str(int(value)) for value in values.tolist()]
    missing = np.isnan(values) if column.missing is None else column.missing
    return ["" if lacks else str(v) for v, lacks in zip(values.tolist(), missing, strict=True)]


def _ids(tables: Sequence[TableFile], names: list[str] | None, column: str | None) -> list[str]:
    if column is not None:
        return [cell for table in tables for cell in _cells(table, "id_column", column)]
    prefixes = [""] * len(tables) if names is None else [f"{name}/" for name in names]
    return [
        f"{prefix}{row}"
        for prefix, table in zip(prefixes, tables, strict=True)
        for row in range(table.num_rows)
    ]


def _rows_of_splits(table: TableFile, column: str, subsets: list[str]) -> Any:
    splits = np.array([comparable(cell) for cell in _cells(table, "split_column", column)])
    wanted = [comparable(name) for name in subsets]
    known = set(splits.tolist())
    missing = [name for name in wanted if name not in known]
    if missing:
        raise ConfigError(
            ConfigProblem(
                "subset", name, f"no row has this split; {suggest(name, known, noun='splits')}"
            )
            for name in missing
        )
    return np.flatnonzero(np.isin(splits, wanted))
