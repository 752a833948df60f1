"""Files of tables, read column by column: CSV, Parquet, .npz, .npy and folders of .npy files.

Shapes: N rows.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import ConfigError, ConfigProblem
from .csv_columns import Records, describe_encoding, root_error
from .name_matching import comparable

Numbers = npt.NDArray[Any]
Texts = list[str]

_SHOWN = 5


@dataclass
class Column:
    """A column of a table.

    Attributes:
        name: Its name.
        values: Numbers (N, ...), float32 or int64, or any type where they stay in a mapped file;
            or N texts.
        missing: Which rows lack a value, bool (N,); None where that is seen when they are read.
    """

    name: str
    values: Numbers | Texts
    missing: npt.NDArray[np.bool_] | None

    @property
    def is_text(self) -> bool:
        """Whether it holds texts."""
        return isinstance(self.values, list)


@dataclass
class TableFile:
    """A table that has been opened, with columns that are read when they are asked for.

    Attributes:
        path: The file or folder.
        names: The names of its columns.
        num_rows: N.
        read: Reads the column of a name; the second argument says whether it is text in any case.
        lines: The line in which each row begins, from 1, where a row is one of a text file.
    """

    path: Path
    names: list[str]
    num_rows: int
    read: Callable[[str, bool], Column]
    lines: Sequence[int] | None = None

    @property
    def stamp(self) -> str:
        """What distinguishes it from its own earlier content: sizes and times of its files."""
        files = sorted(self.path.glob("*.npy")) if self.path.is_dir() else [self.path]
        statuses = [(file, file.stat()) for file in files]
        return "\n".join(f"{f.absolute()} {s.st_size} {s.st_mtime_ns}" for f, s in statuses)

    def place(self, row: int) -> str:
        """Where a row is, in words: its line, or its number from 0."""
        return f"row {row}" if self.lines is None else f"line {self.lines[row]}"

    def refuse(self, faults: Iterable[tuple[int, str]]) -> ConfigError:
        """The problem of some rows, of which the first ones are named.

        Args:
            faults: Rows, and what is wrong there.
        """
        listed = [f"{self.place(row)}: {fault}" for row, fault in faults]
        if len(listed) > _SHOWN:
            listed[_SHOWN:] = [f"and {len(listed) - _SHOWN} more rows with errors"]
        return ConfigError(ConfigProblem("root", str(self.path), fault) for fault in listed)


def open_table(path: Path) -> TableFile:
    """Opens a table.

    Args:
        path: A ``.csv``, ``.parquet``, ``.npz`` or ``.npy`` file, whose column is named as the
            file, or a folder of ``.npy`` files, whose columns are. ``.npy`` files stay on the disk.

    Raises:
        ConfigError: If it cannot be read or is no table.
    """
    kind = "" if path.is_dir() else path.suffix.lower()
    try:
        table = FORMATS[kind](path)
    except UnicodeDecodeError as error:
        raise root_error(str(path), describe_encoding(str(path))) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise root_error(str(path), f"cannot be read: {reason}") from error
    if not table.num_rows:
        raise root_error(str(path), "the table has no rows")
    return table


def _open_csv(path: Path) -> TableFile:
    with path.open(newline="", encoding="utf-8-sig") as file:
        records, lines, rows = Records(file), [], []
        try:
            cells = iter(records)
            names = [comparable(name) for name in next(cells, [])]
            for row in cells:
                if len(row) != len(names):
                    counts = f"{len(row)} cells where the header has {len(names)}"
                    raise root_error(str(path), f"line {records.line}: {counts}")
                lines.append(records.line)
                rows.append(row)
        except csv.Error as error:
            fault = f"line {records.line}: {error}; is a quote here not closed?"
            raise root_error(str(path), fault) from error
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise root_error(str(path), f"its header repeats {', '.join(map(repr, repeated))}")
    columns = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else {}

    def read(name: str, is_text: bool) -> Column:
        texts = [comparable(cell) for cell in columns[name]]
        return _from_cells(table, name, texts, is_text)

    table = TableFile(path, names, len(rows), read, lines)
    return table


def _from_cells(table: TableFile, name: str, texts: Texts, is_text: bool) -> Column:
    """Numbers where all cells that are not empty are some, texts where none is."""
    missing = np.array([not text for text in texts])
    are_numbers = [_is_number(text) for text in texts if text]
    if is_text or not any(are_numbers):
        return Column(name, texts, missing)
    if not all(are_numbers):
        wrong = [
            (row, f"column {name!r}: {text[:40]!r} is no number, and others are")
            for row, text in enumerate(texts)
            if text and not _is_number(text)
        ]
        raise table.refuse(wrong)
    if all(text.lstrip("+-").isdigit() for text in texts if text):
        whole = np.array([int(text or 0) for text in texts], dtype=np.int64)
        return Column(name, whole, missing)
    numbers = np.array([float(text or "nan") for text in texts])
    return Column(name, as_numbers(numbers), np.isnan(numbers))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _open_parquet(path: Path) -> TableFile:
    try:
        from pyarrow import parquet
    except ImportError as error:
        expected = "Parquet needs pyarrow: python -m pip install 'sesemi-like[parquet]'"
        raise root_error(str(path), expected) from error
    file = parquet.ParquetFile(path)

    def read(name: str, is_text: bool) -> Column:
        return _from_arrow(table, name, file.read([name]).column(name), is_text)

    table = TableFile(path, list(file.schema_arrow.names), file.metadata.num_rows, read)
    return table


def _from_arrow(table: TableFile, name: str, chunked: Any, is_text: bool) -> Column:
    import pyarrow as pa

    values = pa.concat_arrays(chunked.chunks) if chunked.num_chunks else pa.array([], chunked.type)
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    missing = np.asarray(values.is_null())
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or is_text:
        texts = ["" if text is None else str(text) for text in values.to_pylist()]
        return Column(name, texts, missing)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        vectors = _vectors(table, name, values, missing)
        return _numbers(name, vectors, missing)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        held = values.drop_null().to_numpy(zero_copy_only=False)
        return _numbers(name, _spread(held, missing), missing)
    expected = f"column {name!r} has the type {kind}; needs numbers, text, or lists of numbers"
    raise root_error(str(table.path), expected)


def _vectors(table: TableFile, name: str, values: Any, missing: npt.NDArray[np.bool_]) -> Numbers:
    """Lists of equal lengths as rows; those of missing rows are zero."""
    import pyarrow as pa
    from pyarrow import compute

    held = values.drop_null()
    rows = np.flatnonzero(~missing)
    lengths = np.asarray(compute.list_value_length(held))
    odd = np.flatnonzero(lengths != lengths[:1])
    if len(odd):
        first = int(odd[0])
        fault = f"column {name!r}: a list of {lengths[first]} numbers, where others have"
        raise table.refuse([(int(rows[first]), f"{fault} {lengths[0]}")])
    flat = held.flatten()
    if not (pa.types.is_integer(flat.type) or pa.types.is_floating(flat.type)):
        expected = f"column {name!r} has lists of {flat.type}; needs lists of numbers"
        raise root_error(str(table.path), expected)
    numbers = flat.to_numpy(zero_copy_only=False).reshape(len(held), -1)
    return _spread(numbers, missing)


def _spread(held: Numbers, missing: npt.NDArray[np.bool_]) -> Numbers:
    """Puts the values that are there in the places of all rows."""
    values = np.zeros((len(missing), *held.shape[1:]), dtype=held.dtype)
    values[~missing] = held
    return values


def _numbers(name: str, values: Numbers, missing: npt.NDArray[np.bool_]) -> Column:
    """A column of numbers in memory, of which nan is none."""
    return Column(name, as_numbers(values), np.logical_or(missing, has_nan(values)))


def _open_npz(path: Path) -> TableFile:
    with np.load(path, allow_pickle=False) as content:
        arrays = {name: content[name] for name in content.files}
    return _of_arrays(path, arrays)


def _open_npy(path: Path) -> TableFile:
    return _of_arrays(path, {path.stem: np.load(path, mmap_mode="r", allow_pickle=False)})


def _open_folder(path: Path) -> TableFile:
    files = sorted(path.glob("*.npy"))
    if not files:
        raise root_error(str(path), "the folder has no .npy files, one for each column")
    loaded = {file.stem: np.load(file, mmap_mode="r", allow_pickle=False) for file in files}
    return _of_arrays(path, loaded)


def _of_arrays(path: Path, arrays: dict[str, Numbers]) -> TableFile:
    rows = {name: array.shape[0] if array.ndim else 0 for name, array in arrays.items()}
    if len(set(rows.values())) > 1:
        listed = ", ".join(f"{name} {count:,}" for name, count in rows.items())
        raise root_error(str(path), f"its columns have unequal numbers of rows: {listed}")

    def read(name: str, is_text: bool) -> Column:
        values = arrays[name]
        if is_text or values.dtype.kind in "US":
            texts = [comparable(str(text)) for text in values.tolist()]
            return Column(name, texts, np.array([not text for text in texts]))
        if values.dtype.kind not in "biuf":
            expected = f"column {name!r} has the type {values.dtype}; needs numbers or text"
            raise root_error(str(path), expected)
        if isinstance(values, np.memmap):
            return Column(name, values, None)
        return _numbers(name, values, np.zeros(len(values), dtype=bool))

    return TableFile(path, list(arrays), next(iter(rows.values()), 0), read)


def has_nan(values: Numbers) -> npt.NDArray[np.bool_]:
    """Which rows (N, ...) have a value that is nan, bool (N,)."""
    if values.dtype.kind != "f":
        return np.zeros(len(values), dtype=bool)
    found: npt.NDArray[np.bool_] = np.any(np.isnan(values), axis=tuple(range(1, values.ndim)))
    return found


def as_numbers(values: Numbers) -> Numbers:
    """Numbers of any type as those of fields: float32, or int64 for integers and truth values."""
    kind = np.float32 if values.dtype.kind == "f" else np.int64
    return np.ascontiguousarray(values, dtype=kind)


FORMATS: dict[str, Callable[[Path], TableFile]] = {
    ".csv": _open_csv,
    ".parquet": _open_parquet,
    ".npz": _open_npz,
    ".npy": _open_npy,
    "": _open_folder,
}
"""What opens a table, by the ending of its name; a folder has none."""
