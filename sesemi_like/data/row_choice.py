"""The choice of rows that a data set has, labeled or not: the same on every machine."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ConfigError, ConfigProblem
from ..files import write_atomically
from .samples import Samples
from .streams import StreamedSamples

Rows = npt.NDArray[np.int64]

ROW_CHOICE = ("num_rows", "rows")
"""The keys of a data set's config that choose rows."""

_POSITIONS = "needs positions in the data set, each once, or a file with one a line"
_SHOWN = 5


def choose_rows(
    samples: Samples, *, num_rows: int | None = None, rows: Any = None, row_seed: int = 0
) -> Samples:
    """Selects rows before anything else is chosen: a label budget sees these rows alone.

    Args:
        samples: A data set of N rows.
        num_rows: How many rows to keep, in [1, N]: the first ones of a permutation drawn from
            ``PCG64(row_seed)``, in the order in which they are stored, so that a smaller choice is
            part of a larger one. None keeps all.
        rows: The positions to keep, as in the field `index`, in this order: a list, or a text file
            with one a line. None keeps all.
        row_seed: Seeds the choice of `num_rows`.

    Raises:
        ConfigError: If both are given, there are too few rows, or positions are none or repeated.
    """
    if num_rows is not None and rows is not None:
        value = f"num_rows={num_rows}, rows={_shown(rows)}"
        raise ConfigError([ConfigProblem("num_rows", value, "give only one of num_rows, rows")])
    if num_rows is not None:
        return samples.select(_draw(num_rows, len(samples), row_seed))
    if rows is not None:
        return samples.select(_given(rows, samples.positions))
    return samples


def _draw(count: int, size: int, seed: int) -> Rows:
    if not 1 <= count <= size:
        expected = f"needs a number from 1 to {size:,}, the rows of the data set"
        raise ConfigError([ConfigProblem("num_rows", count, expected)])
    order = np.random.Generator(np.random.PCG64(seed)).permutation(size)
    return np.sort(order[:count]).astype(np.int64)


def _given(rows: Any, known: Rows) -> Rows:
    positions = _read_positions(rows) if isinstance(rows, str | Path) else rows
    is_list = isinstance(positions, Sequence) and not isinstance(positions, str)
    if not is_list or not positions or not all(type(p) is int for p in positions):
        raise ConfigError([ConfigProblem("rows", _shown(rows), _POSITIONS)])
    row_of = {position: row for row, position in enumerate(known.tolist())}
    outside = [position for position in positions if position not in row_of]
    if outside:
        expected = f"{_shown(outside)} are none of the {len(known):,} rows of the data set"
        raise ConfigError([ConfigProblem("rows", _shown(rows), expected)])
    chosen = np.asarray(positions, dtype=np.int64)
    unique, counts = np.unique(chosen, return_counts=True)
    if len(unique) < len(chosen):
        expected = f"{_shown(unique[counts > 1].tolist())} are given more than once; {_POSITIONS}"
        raise ConfigError([ConfigProblem("rows", _shown(rows), expected)])
    return np.array([row_of[position] for position in positions], dtype=np.int64)


def _read_positions(path: str | Path) -> list[int]:
    """Reads a file with a position on each line; empty lines are left out."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError([ConfigProblem("rows", str(path), f"cannot be read: {reason}")]) from None
    positions = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text:
            continue
        if not text.isascii() or not text.isdigit():
            expected = f"line {number}: found {text[:40]!r}; {_POSITIONS}"
            raise ConfigError([ConfigProblem("rows", str(path), expected)])
        positions.append(int(text))
    return positions


def _shown(rows: Any) -> str:
    if isinstance(rows, str | Path) or not isinstance(rows, Sequence):
        return str(rows)
    listed = ", ".join(map(str, rows[:_SHOWN]))
    return f"{listed}, ... ({len(rows):,} in all)" if len(rows) > _SHOWN else f"[{listed}]"


def write_rows(
    datasets: Mapping[str, tuple[Mapping[str, Any], Samples | StreamedSamples]], path: Path
) -> None:
    """Writes which rows are read where they were chosen, as a table: loader, index, id.

    Nothing is written where no loader chooses rows.

    Args:
        datasets: Each loader's name, with the config of its data set and the data set.
        path: The CSV file; it appears whole or not at all.
    """
    chosen = {
        name: source
        for name, (config, source) in datasets.items()
        if isinstance(source, Samples) and any(config.get(key) is not None for key in ROW_CHOICE)
    }
    if not chosen:
        return
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["loader", "index", "id"])
    for name, source in chosen.items():
        writer.writerows(
            (name, int(position), row_id)
            for position, row_id in zip(source.positions, source.row_ids(), strict=True)
        )
    write_atomically(path, text.getvalue())
