"""The files of a cache of decoded images.

A cache is a folder of two files: `pixels.bin` (the pixels of all images) and `index.npz` (where
each image begins, its shape, a checksum, and a digest of the file it was decoded from).

Shapes: N images.
"""

from __future__ import annotations

import logging
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ...locks import Claim
from ..progress import Progress, log_task
from .decode import Decode, checksum, decode_batches
from .pixels import FilePixels, PixelCache, Pixels

FORMAT = 3
PIXELS, INDEX = "pixels.bin", "index.npz"

_CHECKED, _BATCH = 64, 64

Digests = npt.NDArray[np.bytes_]
Rows = npt.NDArray[np.int64]

Make = Callable[[Rows], Iterable[tuple[Pixels, Any, Any]]]
"""Makes the content of rows of a cache in their order, in batches of flat uint8 values, the shapes
of the rows, int64 (rows, 3), and their checksums, int64 (rows,)."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class CacheKey:
    """All that the pixels of a cache depend on.

    Attributes:
        settings: A digest of how images are decoded.
        files: S16 (N,): a digest of each image file as it was.
        name: The name of the cache's folder: the digest of the settings, and one of all.
    """

    settings: str
    files: Digests

    @property
    def name(self) -> str:
        """The name of the cache's folder: the digest of the settings, and one of all."""
        every = blake2b(self.settings.encode() + self.files.tobytes(), digest_size=16)
        return f"{self.settings}-{every.hexdigest()}"


def cache_key(settings: Iterable[str], fingerprints: Iterable[str]) -> CacheKey:
    """Makes the key of a cache.

    Args:
        settings: All that the pixels depend on beside the files.
        fingerprints: What distinguishes each file from others and from earlier states of itself.
    """
    digest = blake2b(digest_size=8)
    for part in (f"format {FORMAT}", *settings):
        digest.update(part.encode() + b"\0")
    files = [blake2b(text.encode(), digest_size=16).digest() for text in fingerprints]
    return CacheKey(digest.hexdigest(), np.array(files, "S16"))


@dataclass(frozen=True)
class CachedImages:
    """A cache that has been opened, with what is noted of its images.

    Attributes:
        path: Its folder.
        pixels: The images.
        checks: int64 (N,): the checksum of each.
        files: S16 (N,): a digest of the file of each.
    """

    path: Path
    pixels: PixelCache
    checks: npt.NDArray[np.int64]
    files: Digests

    def rows_of(self, files: Digests) -> Rows:
        """The row that holds each of some files; -1 where there is none (len(files),)."""
        if not len(self.files):
            return np.full(len(files), -1)
        order = np.argsort(self.files, kind="stable")
        places = np.searchsorted(self.files, files, sorter=order)
        rows = order[np.minimum(places, len(order) - 1)]
        is_readable = self.pixels.shapes[rows].any(axis=1)  # others may be readable by now
        return np.where((self.files[rows] == files) & is_readable, rows, -1)


def open_cache(path: Path, count: int | None = None) -> CachedImages | None:
    """Opens a whole cache and marks it as used by this process.

    The sizes and the checksums of 64 images spread over it are compared.

    Args:
        path: Its folder.
        count: The number of images it must have; None takes any.

    Returns:
        The cache; None where there is none or it is not what was written.
    """
    claim = Claim(path)
    try:
        with np.load(path / INDEX) as index:
            starts, shapes = index["starts"], index["shapes"]
            checks, files = index["checks"], index["files"]
        size = (path / PIXELS).stat().st_size
    except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile):
        return None
    offsets = np.stack([np.zeros_like(starts), starts], axis=1)
    pixels = PixelCache([FilePixels(path / PIXELS, claim)], offsets, shapes)
    is_whole = count in (None, len(starts)) and size == int(shapes.prod(axis=1).sum())
    if not is_whole or not _is_unchanged(pixels, checks):
        log.warning("the cache %s is damaged and is not used", path)
        return None
    return CachedImages(path, pixels, checks, files)


def _is_unchanged(pixels: PixelCache, checks: npt.NDArray[np.int64]) -> bool:
    positions = np.unique(np.linspace(0, len(pixels) - 1, min(len(pixels), _CHECKED)).astype(int))
    return all(checksum(pixels[position]) == checks[position] for position in positions)


def write_cache(
    path: Path, key: CacheKey, make: Make, earlier: Iterable[CachedImages] = ()
) -> None:
    """Writes the files of a cache.

    Args:
        path: An empty folder.
        key: The files to decode.
        make: Makes the content of rows.
        earlier: Caches of the same settings: images whose files have not changed are copied.

    Raises:
        OSError: The folder cannot be written, or the disk is full.
        RuntimeError: A process that decodes has ended.
    """
    with (path / PIXELS).open("wb") as file:
        writer = _Writer(file, len(key.files))
        for cache in earlier:
            _copy(cache, key.files, writer)
        rows = np.flatnonzero(~writer.is_written)
        if len(rows) < len(key.files):
            log.info(
                "%d of %d images are copied from earlier caches",
                len(key.files) - len(rows),
                len(key.files),
            )
        begin = 0
        for batch in make(rows):
            writer.write(rows[begin : begin + len(batch[1])], *batch)
            begin += len(batch[1])
        file.flush()
        os.fsync(file.fileno())
    np.savez(
        path / INDEX,
        starts=writer.starts,
        shapes=writer.shapes,
        checks=writer.checks,
        files=key.files,
    )


class _Writer:
    """Writes images one after the other, in any order, and notes where each begins."""

    def __init__(self, file: IO[bytes], count: int) -> None:
        self.file, self.end = file, 0
        self.starts, self.checks = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self.shapes = np.zeros((count, 3), np.int64)
        self.is_written = np.zeros(count, np.bool_)

    def write(
        self, rows: Rows, pixels: Pixels, shapes: npt.NDArray[np.int64], checks: Rows
    ) -> None:
        self.file.write(pixels.data)
        sizes = shapes.prod(axis=1)
        self.starts[rows] = self.end + np.cumsum(sizes) - sizes
        self.shapes[rows], self.checks[rows], self.is_written[rows] = shapes, checks, True
        self.end += len(pixels)


def _copy(cache: CachedImages, files: Digests, writer: _Writer) -> None:
    """Copies the images that have not been written yet, where their checksums are right."""
    found = np.where(writer.is_written, -1, cache.rows_of(files))
    rows = np.flatnonzero(found >= 0)
    for batch in np.array_split(rows, range(_BATCH, len(rows), _BATCH)):
        images = [np.asarray(cache.pixels[row]) for row in found[batch]]
        sums = np.array([checksum(image) for image in images], np.int64)
        is_right = sums == cache.checks[found[batch]]
        parts = [images[number].reshape(-1) for number in np.flatnonzero(is_right)]
        if parts:
            shapes = cache.pixels.shapes[found[batch[is_right]]]
            writer.write(batch[is_right], np.concatenate(parts), shapes, sums[is_right])


def decode_rows(
    decode: Decode, rows: Rows, *, workers: int = 0, progress: Progress = log_task
) -> Iterator[tuple[Pixels, Any, Any]]:
    """Decodes the images of some rows, see :func:`decode_batches`.

    Args:
        decode: Reads the image of a row.
        rows: The rows.
        workers: Processes that decode; 0 decodes in this one.
        progress: Shows how many images have been decoded.
    """
    return decode_batches(_Rows(decode, rows), len(rows), workers, progress)


class _Rows:
    """Decodes some of the rows of a cache; an object, so that it can be pickled."""

    def __init__(self, decode: Decode, rows: Rows) -> None:
        self.decode, self.rows = decode, rows

    def __call__(self, number: int) -> Pixels | None:
        return self.decode(int(self.rows[number]))
