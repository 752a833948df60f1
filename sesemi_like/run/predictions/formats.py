"""The files that predictions are written to: CSV, Parquet, or a folder of .npy files.

Shapes: N rows of a part.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...files import PARTIAL, replacing
from ...learners.predicted import Columns, Labelled


@dataclass(frozen=True)
class Part:
    """The predictions of some rows.

    Attributes:
        index: Their positions in the data set, int64 (N,).
        ids: Their names.
        columns: What was predicted.
    """

    index: npt.NDArray[np.int64]
    ids: list[str]
    columns: Columns


@dataclass(frozen=True)
class Format:
    """How parts are written, and become one file.

    Attributes:
        suffix: What the name of the file ends in; empty for a folder.
        encode: The bytes of a part.
        merge: Writes the parts, in this order, to a path, where it appears whole or not at all.
    """

    suffix: str
    encode: Callable[[Part], bytes]
    merge: Callable[[Sequence[Path], Path], None]


def as_array(values: Tensor) -> npt.NDArray[Any]:
    """A tensor of any type as an array; those of 16 bits become float32."""
    is_short = values.dtype in (torch.float16, torch.bfloat16)
    array: npt.NDArray[Any] = (values.float() if is_short else values).numpy()
    return array


def _flat_columns(part: Part) -> dict[str, Any]:
    """Columns of one value a row: the parts of vectors are named by label, or by number."""
    flat: dict[str, Any] = {"index": part.index, "id": part.ids}
    for name, column in part.columns.items():
        values = column.values if isinstance(column, Labelled) else column
        if not isinstance(values, Tensor):
            flat[name] = [v if isinstance(v, str) else json.dumps(_plain(v)) for v in values]
            continue
        array = as_array(values)
        if array.ndim == 1:
            flat[name] = array
            continue
        for place in np.ndindex(*array.shape[1:]):
            labels = column.labels if isinstance(column, Labelled) else None
            parts = [labels[place[0]]] if labels else map(str, place)
            place_of_all = (slice(None), *place)
            flat[".".join([name, *parts])] = array[place_of_all]
    return flat


def _plain(tree: Any) -> Any:
    """A tree as lists and numbers."""
    if isinstance(tree, Tensor):
        return tree.tolist()
    if isinstance(tree, dict):
        return {str(name): _plain(value) for name, value in tree.items()}
    return [_plain(value) for value in tree] if isinstance(tree, list | tuple) else tree


def _encode_csv(part: Part) -> bytes:
    flat = _flat_columns(part)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    # On one line, so that the parts can be joined without it.
    writer.writerow(" ".join(name.splitlines()) for name in flat)
    cells = [v if isinstance(v, list) else _texts(v) for v in flat.values()]
    writer.writerows(zip(*cells, strict=True))
    return text.getvalue().encode("utf-8", "surrogateescape")


def _texts(values: npt.NDArray[Any]) -> list[str]:
    """Numbers in the fewest digits from which the same ones are read."""
    texts: list[str] = values.astype(str).tolist()
    return texts


def _merge_csv(parts: Sequence[Path], target: Path) -> None:
    with replacing(target) as file:
        for number, path in enumerate(parts):
            with path.open("rb") as part:
                header = part.readline()
                if number == 0:
                    file.write(header)
                shutil.copyfileobj(part, file)


def _encode_parquet(part: Part) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    arrays: dict[str, Any] = {"index": pa.array(part.index), "id": pa.array(part.ids, pa.string())}
    for name, column in part.columns.items():
        if isinstance(column, Labelled):
            for number, label in enumerate(column.labels):
                arrays[f"{name}.{label}"] = pa.array(as_array(column.values[:, number]))
        elif not isinstance(column, Tensor):
            arrays[name] = pa.array([_plain(value) for value in column])
        else:
            arrays[name] = _arrow(as_array(column))
    file = io.BytesIO()
    parquet.write_table(pa.table(arrays), file)
    return file.getvalue()


def _arrow(array: npt.NDArray[Any]) -> Any:
    """Numbers (N,), or lists of fixed lengths (N, ...), nested as the dimensions are."""
    import pyarrow as pa

    values = pa.array(np.ascontiguousarray(array).reshape(-1))
    for length in reversed(array.shape[1:]):
        values = pa.FixedSizeListArray.from_arrays(values, length)
    return values


def _merge_parquet(parts: Sequence[Path], target: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    # A part whose lists are all empty, or whose numbers are all whole, shows less of their type.
    schemas = [parquet.read_schema(path) for path in parts]
    schema = pa.unify_schemas(schemas, promote_options="permissive")
    with replacing(target) as file, parquet.ParquetWriter(file, schema) as writer:
        for path in parts:
            writer.write_table(parquet.read_table(path).cast(schema))


def _encode_npy(part: Part) -> bytes:
    arrays: dict[str, npt.NDArray[Any]] = {"index": part.index, "id": np.array(part.ids, dtype=str)}
    labels = {}
    for name, column in part.columns.items():
        if isinstance(column, Labelled):
            labels[name] = list(column.labels)
        values = column.values if isinstance(column, Labelled) else column
        arrays[name] = as_array(values) if isinstance(values, Tensor) else np.array(values, str)
    arrays["/labels"] = np.array(json.dumps(labels))
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def _merge_npy(parts: Sequence[Path], target: Path) -> None:
    """Writes a folder with a file for each column, and the names of the parts of columns."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(PARTIAL, f".{target.name}.", target.parent))
    try:
        with np.load(parts[0]) as first:
            names = [name for name in first.files if name != "/labels"]
            labels = json.loads(str(first["/labels"]))
        for name in names:
            _join_npy(parts, name, folder / f"{name}.npy")
        (folder / "labels.json").write_text(json.dumps(labels, indent=1, ensure_ascii=False))
        folder.chmod(0o777 & ~_umask())
        if target.exists():  # of an earlier run in the same folder
            shutil.rmtree(target)
        folder.rename(target)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _join_npy(parts: Sequence[Path], name: str, target: Path) -> None:
    """Writes one column part by part, so that no more than one is in memory."""
    shapes, kinds = [], []
    for path in parts:
        with np.load(path) as content:
            shapes.append(content[name].shape)
            kinds.append(content[name].dtype)
    rows = sum(shape[0] for shape in shapes)
    joined = np.lib.format.open_memmap(
        target, mode="w+", dtype=np.result_type(*kinds), shape=(rows, *shapes[0][1:])
    )
    start = 0
    for path, shape in zip(parts, shapes, strict=True):
        with np.load(path) as content:
            joined[start : start + shape[0]] = content[name]
        start += shape[0]
    joined.flush()


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


FORMATS = {
    "csv": Format(".csv", _encode_csv, _merge_csv),
    "parquet": Format(".parquet", _encode_parquet, _merge_parquet),
    "npy": Format("", _encode_npy, _merge_npy),
}
"""The values of `run.predict.format`."""
