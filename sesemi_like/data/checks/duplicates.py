"""Images that come twice: within a data set, or in training and in evaluation."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ..labels import Datasets
from ..loading.names import EVALUATED
from ..samples import Samples
from ..sources.image_files import ImageFiles, image_files_of

_SHOWN = 3


def duplicate_warnings(datasets: Datasets, trained: Sequence[str]) -> Iterator[str]:
    """Says where images come more than once, as they should not.

    Args:
        datasets: All data sets.
        trained: The loaders whose labels are trained on.
    """
    mapped = {name: s for name, s in datasets.items() if isinstance(s, Samples)}
    for name, source in mapped.items():
        if told := repeated_images(source):
            yield f"data.{name}.dataset: {told}"
    for name, other in itertools.product(EVALUATED, trained):
        both = name in mapped and other in mapped
        if both and (told := shared_images(mapped[name], mapped[other])):
            yield f"data.{name}.dataset and data.{other}.dataset: {told}"


def repeated_images(source: Samples) -> str | None:
    """Says which samples of a data set come more than once, or None where none does."""
    marks = _marks(map(source.ids.__getitem__, map(int, source.positions)))
    order = np.argsort(marks, kind="stable")
    is_again = np.zeros(len(marks), dtype=bool)
    is_again[order[1:]] = marks[order[1:]] == marks[order[:-1]]
    if not is_again.any():
        return None
    names = [source.ids[int(position)] for position in source.positions[is_again]]
    return f"{len(names)} of its samples are there more than once: {_some(names)}"


def shared_images(source: Samples, other: Samples) -> str | None:
    """Says which image files of a data set another one has too, or None where there are none.

    Args:
        source: The data set that is spoken of.
        other: The other one.
    """
    files, others = image_files_of(source), image_files_of(other)
    if files is None or others is None:
        return None
    is_shared = np.isin(_marks(_resolved(files, source)), _marks(_resolved(others, other)))
    if not is_shared.any():
        return None
    names = [source.ids[int(position)] for position in source.positions[is_shared]]
    return f"{len(names)} of its {len(source)} images are there too: {_some(names)}"


def _some(names: list[str]) -> str:
    more = ", ..." if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _marks(names: Iterator[str]) -> npt.NDArray[np.int64]:
    """A number for each name, by which as many names as there may be are compared in little memory.

    Of ten million names two that differ have the same one once in 200,000 runs.
    """
    return np.fromiter(map(hash, names), dtype=np.int64)


def _resolved(files: ImageFiles, source: Samples) -> Iterator[str]:
    """The path of each row's file, with links to folders followed."""
    for position in source.positions.tolist():
        folder, name = os.path.split(files.files[position])
        yield os.path.join(_real(folder), name)


@lru_cache(maxsize=4096)
def _real(folder: str) -> str:
    return os.path.realpath(folder)
