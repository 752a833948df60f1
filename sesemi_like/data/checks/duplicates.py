"""Duplicate images: within a data set, or in both training and evaluation."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ..loading.keys import EVALUATED
from ..run_labels import Datasets
from ..samples import Samples
from ..sources.image_files import ImageFiles, image_files_of

_SHOWN = 3


def duplicate_warnings(datasets: Datasets, trained: Sequence[str]) -> Iterator[str]:
    """Warns of duplicate images within data sets, and of evaluation images in training.

    Args:
        datasets: All data sets.
        trained: The loaders whose labels are trained on.
    """
    mapped = {name: s for name, s in datasets.items() if isinstance(s, Samples)}
    for name, source in mapped.items():
        if warning := repeated_images(source):
            yield f"data.{name}.dataset: {warning}"
    for name, other in itertools.product(EVALUATED, trained):
        both = name in mapped and other in mapped
        if both and (warning := shared_images(mapped[name], mapped[other])):
            yield f"data.{name}.dataset and data.{other}.dataset: {warning}"


def repeated_images(source: Samples) -> str | None:
    """Names the samples of a data set that it has more than once, or returns None."""
    hashes = _hashes(map(source.ids.__getitem__, map(int, source.positions)))
    order = np.argsort(hashes, kind="stable")
    is_repeated = np.zeros(len(hashes), dtype=bool)
    is_repeated[order[1:]] = hashes[order[1:]] == hashes[order[:-1]]
    if not is_repeated.any():
        return None
    names = [source.ids[int(position)] for position in source.positions[is_repeated]]
    return f"{len(names)} of its samples occur more than once: {_first(names)}"


def shared_images(source: Samples, other: Samples) -> str | None:
    """Names the image files of a data set that another one has too, or returns None.

    Args:
        source: The data set whose images are named.
        other: The other one.
    """
    files, others = image_files_of(source), image_files_of(other)
    if files is None or others is None:
        return None
    is_shared = np.isin(_hashes(_real_paths(files, source)), _hashes(_real_paths(others, other)))
    if not is_shared.any():
        return None
    names = [source.ids[int(position)] for position in source.positions[is_shared]]
    return f"{len(names)} of its {len(source)} images occur in both: {_first(names)}"


def _first(names: list[str]) -> str:
    more = ", ..." if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _hashes(names: Iterator[str]) -> npt.NDArray[np.int64]:
    """Hashes of names, int64 (N,), which take less memory to compare than the names.

    Among ten million different names two have the same hash once in 200,000 runs.
    """
    return np.fromiter(map(hash, names), dtype=np.int64)


def _real_paths(files: ImageFiles, source: Samples) -> Iterator[str]:
    """The path of each row's file, with links to folders resolved."""
    for position in source.positions.tolist():
        folder, name = os.path.split(files.files[position])
        yield os.path.join(_real_folder(folder), name)


@lru_cache(maxsize=4096)
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)
