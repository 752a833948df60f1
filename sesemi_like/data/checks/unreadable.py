"""Images that cannot be read: all named before the first step, or counted and skipped."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...errors import SKIP_HINT, ConfigError, ConfigProblem, UnreadableSampleError
from ...files import write_atomically
from ..cache.reader import CachedReader
from ..samples import UNLABELED, UNREADABLE, Sample, Samples, StreamedSamples
from ..sources.image_files import ImageFiles, image_files_of
from ..sources.image_reader import file_loader_of

Positions = npt.NDArray[np.int64]

LIST = "unreadable.txt"
_SHOWN, _SHOWN_SKIPPED = 10, 5
_FIRST, _MOST_LOOKED_AT, _THREADS = 2, 100_000, 8
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II", b"MM", b"RIFF", b"P5", b"P6")

log = logging.getLogger(__name__)


def settle_unreadable(
    samples: Samples | StreamedSamples, name: str, folder: Path | None = None
) -> None:
    """Refuses a data set with images that cannot be read, or counts them where they are skipped.

    Where images are kept decoded all of them have been read. Of up to 100,000 other image files the
    first bytes are looked at, and those that begin like no image are tried, as the first two are:
    empty files and web pages are found so, most half files are not.

    Args:
        samples: The data set; decoded, if it is to be kept so.
        name: What the data set is called.
        folder: Where a list of all of them is written, where a message would be too long; None
            writes none.

    Raises:
        ConfigError: If there are any, and they are not skipped or are all there is; it names them.
    """
    if not isinstance(samples, Samples):
        return
    there = np.unique(samples.positions)
    broken = np.intersect1d(there, _unreadable(samples, there))
    if not len(broken):
        return
    names = [samples.ids[int(position)] for position in broken]
    count = f"{len(broken):,} of {len(there):,} images cannot be read"
    if samples.on_error == "skip" and len(broken) < len(there):
        samples.mark_unreadable(broken)
        log.warning("%s: %s and are skipped: %s", name, count, _listed(names, _SHOWN_SKIPPED))
        _warn_of_lost_classes(samples, name)
        return
    told = [f"{n} ({_reason(samples, p)})" for n, p in zip(names, broken[:_SHOWN], strict=False)]
    listed = _listed([*told, *names[_SHOWN:]], _SHOWN) + _written(names, folder)
    hint = "" if samples.on_error == "skip" else f"; {SKIP_HINT}"
    problem = ConfigProblem("on_error", samples.on_error, f"{count}: {listed}{hint}")
    raise ConfigError([problem])


def _warn_of_lost_classes(samples: Samples, name: str) -> None:
    if samples.targets is None:
        return
    left = samples.targets[samples.is_readable]
    lost = [label for label in np.setdiff1d(samples.targets, left) if label != UNLABELED]
    if lost:
        classes = [samples.classes[label] if samples.classes else str(label) for label in lost]
        log.warning(
            "%s: no labeled image of %s can be read", name, _listed(classes, _SHOWN_SKIPPED)
        )


def first_readable(samples: Samples) -> list[Sample]:
    """The first two samples; of image files, which are seen to later, the first that can be read.

    Args:
        samples: A data set.

    Raises:
        UnreadableSampleError: If none can be read.
    """
    if file_loader_of(samples) is None:
        return [samples[row] for row in range(min(_FIRST, len(samples)))]
    found: list[Sample] = []
    errors: list[UnreadableSampleError] = []
    tried = samples.select(np.arange(len(samples)))
    tried.on_error = "raise"  # nothing is said of the others: all of them are reported later
    for row in range(len(tried)):
        try:
            found.append(tried[row])
        except UnreadableSampleError as error:
            errors.append(error)
        if len(found) == _FIRST:
            break
    if errors and not found:
        raise errors[0]
    return found


def _unreadable(samples: Samples, positions: Positions) -> Positions:
    """The positions that are known not to be readable, among others perhaps."""
    reader = samples.read
    if isinstance(reader, CachedReader):
        return reader.positions[reader.cache.unreadable]
    load = image_files_of(samples)
    if load is None or len(positions) > _MOST_LOOKED_AT:
        return np.empty(0, np.int64)
    parts = np.array_split(positions, _THREADS)
    with ThreadPoolExecutor(_THREADS) as threads:
        odd = threads.map(lambda part: [p for p in part if not _begins_well(load, int(p))], parts)
        tried = [*positions[:_FIRST], *(position for part in odd for position in part)]
    return np.array([p for p in tried if not _loads(load, int(p))], np.int64)


def _loads(load: ImageFiles, position: int) -> bool:
    try:
        load(position)
    except UNREADABLE:
        return False
    return True


def _begins_well(load: ImageFiles, position: int) -> bool:
    try:
        return load.head(position, len(max(_BEGINNINGS, key=len))).startswith(_BEGINNINGS)
    except OSError:
        return False


def _listed(names: Sequence[str], most: int) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _written(names: list[str], folder: Path | None) -> str:
    """Writes the names to a file if they are many, and says where."""
    if len(names) > _SHOWN and folder is not None:
        with suppress(OSError):  # the list is a help, and the message goes without it
            write_atomically(folder / LIST, "\n".join(names) + "\n")
            return f" (all of them are in {folder / LIST})"
    return ""


def _reason(samples: Samples, position: np.int64) -> str:
    """Why a sample cannot be read; nothing where it can."""
    try:
        samples.read(int(position))
    except UNREADABLE as error:
        return str(error) or type(error).__name__
    return ""
