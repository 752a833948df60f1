"""Images that cannot be read: all reported before the first step, or counted and skipped."""

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
from ..samples import UNLABELED, UNREADABLE, Sample, Samples
from ..sources.image_files import ImageFiles, image_files_of
from ..sources.image_reader import file_loader_of
from ..streams import StreamedSamples

Positions = npt.NDArray[np.int64]

LIST = "unreadable.txt"
_SHOWN, _SHOWN_SKIPPED = 10, 5
_FIRST, _THREADS = 2, 8
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II", b"MM", b"RIFF", b"P5", b"P6")

log = logging.getLogger(__name__)


def check_readable(
    samples: Samples | StreamedSamples,
    name: str,
    folder: Path | None = None,
    *,
    max_probed: int = 100_000,
) -> None:
    """Checks that images can be read, or counts those that cannot where they are skipped.

    Of a cached data set all images have been read. Of other image files the first bytes are
    compared with those of image formats, and files that differ are decoded, as are the first two:
    this finds empty files and web pages, but not most truncated files.

    Args:
        samples: The data set, after it has been cached.
        name: What the data set is called.
        folder: Where a list of all unreadable images is written, if a message would be too long;
            None writes none.
        max_probed: Files of larger data sets that are not cached are not read.

    Raises:
        ConfigError: If images cannot be read and are not skipped, or none can be read.
    """
    if not isinstance(samples, Samples):
        return
    positions = np.unique(samples.positions)
    broken = np.intersect1d(positions, _unreadable_positions(samples, positions, max_probed))
    if not len(broken):
        return
    names = [samples.ids[int(position)] for position in broken]
    count = f"{len(broken):,} of {len(positions):,} images cannot be read"
    if samples.on_error == "skip" and len(broken) < len(positions):
        samples.mark_unreadable(broken)
        log.warning("%s: %s and are skipped: %s", name, count, _enumerate(names, _SHOWN_SKIPPED))
        _warn_of_lost_classes(samples, name)
        return
    shown = [f"{n} ({_reason(samples, p)})" for n, p in zip(names, broken[:_SHOWN], strict=False)]
    listed = _enumerate([*shown, *names[_SHOWN:]], _SHOWN) + _write_list(names, folder)
    hint = "" if samples.on_error == "skip" else f"; {SKIP_HINT}"
    problem = ConfigProblem("on_error", samples.on_error, f"{count}: {listed}{hint}")
    raise ConfigError([problem])


def _warn_of_lost_classes(samples: Samples, name: str) -> None:
    if samples.targets is None:
        return
    readable = samples.targets[samples.is_readable]
    lost = [label for label in np.setdiff1d(samples.targets, readable) if label != UNLABELED]
    if lost:
        classes = [samples.classes[label] if samples.classes else str(label) for label in lost]
        log.warning(
            "%s: no labeled image of %s can be read", name, _enumerate(classes, _SHOWN_SKIPPED)
        )


def first_readable_samples(samples: Samples) -> list[Sample]:
    """Reads the first two samples; of image files, the first two that can be read.

    Image files that cannot be read are reported by :func:`check_readable`, all at once.

    Args:
        samples: A data set.

    Raises:
        UnreadableSampleError: If none can be read.
    """
    if file_loader_of(samples) is None:
        return [samples[row] for row in range(min(_FIRST, len(samples)))]
    read: list[Sample] = []
    errors: list[UnreadableSampleError] = []
    quiet = samples.select(np.arange(len(samples)))
    quiet.on_error = "raise"  # so that skipped samples are not logged one by one
    for row in range(len(quiet)):
        try:
            read.append(quiet[row])
        except UnreadableSampleError as error:
            errors.append(error)
        if len(read) == _FIRST:
            break
    if errors and not read:
        raise errors[0]
    return read


def _unreadable_positions(samples: Samples, positions: Positions, limit: int) -> Positions:
    """The positions found to be unreadable; perhaps of other images of the same files as well."""
    reader = samples.read
    if isinstance(reader, CachedReader):
        return reader.positions[reader.cache.unreadable]
    load = image_files_of(samples)
    if load is None or len(positions) > limit:
        return np.empty(0, np.int64)
    parts = np.array_split(positions, _THREADS)
    with ThreadPoolExecutor(_THREADS) as threads:
        suspects = threads.map(lambda part: [p for p in part if not _is_image(load, int(p))], parts)
        tried = [*positions[:_FIRST], *(position for part in suspects for position in part)]
    return np.array([p for p in tried if not _can_be_loaded(load, int(p))], np.int64)


def _can_be_loaded(load: ImageFiles, position: int) -> bool:
    try:
        load(position)
    except UNREADABLE:
        return False
    return True


def _is_image(load: ImageFiles, position: int) -> bool:
    try:
        return load.head(position, len(max(_SIGNATURES, key=len))).startswith(_SIGNATURES)
    except OSError:
        return False


def _enumerate(names: Sequence[str], limit: int) -> str:
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _write_list(names: list[str], folder: Path | None) -> str:
    """Writes the names to a file if there are many, and returns a hint at it."""
    if len(names) > _SHOWN and folder is not None:
        with suppress(OSError):  # the message is enough without the list
            write_atomically(folder / LIST, "\n".join(names) + "\n")
            return f" (all of them are in {folder / LIST})"
    return ""


def _reason(samples: Samples, position: np.int64) -> str:
    """Why a sample cannot be read; empty if it can."""
    try:
        samples.read(int(position))
    except UNREADABLE as error:
        return str(error) or type(error).__name__
    return ""
