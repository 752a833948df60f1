"""Images decoded once: a flat array of uint8 pixels in a file, or in memory.

A cache is a folder `<key>`, which is written under another name and renamed when it is whole:
`pixels.bin` (all pixels, one image after the other) and `index.npz` (where each begins, its
shape, a checksum). The key stands for the files read and for how they are decoded.

Shapes: N images.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from ..progress import Progress, log_task

Pixels = npt.NDArray[np.uint8]
Decode = Callable[[int], Pixels | None]
"""Maps a position to pixels of any shape up to three axes; None where it cannot be read."""

FORMAT = 2
_AXES, _BATCH, _CHECKED, _LARGEST_CHUNK = 3, 64, 64, 2**28

log = logging.getLogger(__name__)


class FilePixels:
    """The pixels of a file, of which each slice is read when it is asked for.

    Reading takes as long as copying from a memory-mapped file does, but what was read does not stay
    resident: memory is the same for a thousand images and for a million. Processes can be handed
    it, forked or not.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_file": None}

    def __getitem__(self, place: slice) -> Pixels:
        out: Pixels = np.empty(place.stop - place.start, np.uint8)
        if not hasattr(os, "preadv"):  # on Windows
            out[:] = np.memmap(self.path, np.uint8, "r")[place]
            return out
        if self._file is None:
            self._file = self.path.open("rb", buffering=0)
        if os.preadv(self._file.fileno(), [out.data], place.start) != len(out):
            raise OSError(f"{self.path} is shorter than its index says")
        return out


@dataclass(frozen=True)
class PixelCache:
    """Decoded images.

    Attributes:
        chunks: All pixels, in arrays of uint8 or files of them.
        places: int64 (N, 2): the chunk of each image, and where in it the image begins.
        shapes: int64 (N, 3): sizes along its axes; zeros for one that cannot be read.
    """

    chunks: list[Pixels] | list[FilePixels]
    places: npt.NDArray[np.int64]
    shapes: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, position: int) -> Pixels | None:
        """The pixels of an image, not to be written to; None for one that could not be read."""
        chunk, start = self.places[position]
        shape = self.shapes[position]
        size = int(shape.prod())
        return self.chunks[chunk][start : start + size].reshape(shape) if size else None

    @property
    def unreadable(self) -> npt.NDArray[np.int64]:
        """The positions of images that could not be read, ascending."""
        return np.flatnonzero(~self.shapes.any(axis=1))

    @property
    def is_one_shape(self) -> bool:
        """Whether all images are there and of one shape, so that rows can be taken at once."""
        return len(self) > 0 and bool(np.all(self.shapes == self.shapes[0]) and self.shapes[0, 0])

    def take(self, positions: npt.NDArray[np.int64]) -> Pixels:
        """The pixels of several images of one shape, (len(positions), ...), copied."""
        result: Pixels = np.empty((len(positions), *self.shapes[0]), np.uint8)
        for row, (chunk, start) in zip(result, self.places[positions].tolist(), strict=True):
            row.reshape(-1)[:] = self.chunks[chunk][start : start + row.size]
        return result


def key_of(parts: Iterable[str]) -> str:
    """The name of a cache: a digest of everything its pixels depend on."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (f"format {FORMAT}", *parts):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def on_disk(
    folder: Path,
    key: str,
    decode: Decode,
    count: int,
    workers: int = 0,
    progress: Progress = log_task,
) -> PixelCache:
    """Opens a cache in a folder, after building it if it is not there or damaged.

    Several runs may ask at once: one builds, the others wait for it. A build that is killed leaves
    nothing that looks whole, and the next one clears it away.

    Args:
        folder: Where caches are kept; made if need be.
        key: Its name, from :func:`key_of`.
        decode: Reads an image.
        count: N.
        workers: Processes that decode; 0 decodes in this one.
        progress: Shows how many images have been decoded.

    Raises:
        OSError: The folder cannot be written, or the disk is full.
        RuntimeError: A process that decodes has ended; nothing is left behind.
    """
    found = opened(folder / key, count)
    if found is not None:
        return found
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / f"{key}.lock") as is_alone:
        if is_alone:
            for left in folder.glob(f"{key}.tmp-*"):  # of a build that was killed
                shutil.rmtree(left, ignore_errors=True)
        found = opened(folder / key, count)
        if found is None:
            shutil.rmtree(folder / key, ignore_errors=True)  # it is not there, or damaged
            found = _built(folder, key, decode, count, workers, progress)
        return found


def in_memory(
    decode: Decode, count: int, workers: int = 0, progress: Progress = log_task
) -> PixelCache:
    """Decodes all images into memory, which forked worker processes share.

    Args:
        decode: Reads an image.
        count: N.
        workers: Processes that decode; 0 decodes in this one.
        progress: Shows how many images have been decoded.

    Raises:
        RuntimeError: A process that decodes has ended.
    """
    places, shapes, begin = [], [], 0
    chunks: list[Pixels] = []
    pending: list[Pixels] = []
    for pixels, found, _ in _decoded(decode, count, workers, progress):
        sizes = found.prod(axis=1)
        starts = begin + np.cumsum(sizes) - sizes
        places.append(np.stack([np.full_like(starts, len(chunks)), starts], axis=1))
        shapes.append(found)
        pending.append(pixels)
        begin += len(pixels)
        if begin >= _LARGEST_CHUNK:
            chunks.append(np.concatenate(pending))
            pending, begin = [], 0
    chunks.append(np.concatenate(pending) if pending else np.empty(0, np.uint8))
    return PixelCache(chunks, np.concatenate(places), np.concatenate(shapes))


def opened(path: Path, count: int) -> PixelCache | None:
    """Opens a whole cache; None where there is none or it is not what was written.

    The sizes and the checksums of 64 images spread over it are compared.

    Args:
        path: Its folder.
        count: The number of images it must have.
    """
    try:
        with np.load(path / "index.npz") as index:
            starts, shapes, checks = index["starts"], index["shapes"], index["checks"]
        size = (path / "pixels.bin").stat().st_size
    except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile):
        return None
    places = np.stack([np.zeros_like(starts), starts], axis=1)
    cache = PixelCache([FilePixels(path / "pixels.bin")], places, shapes)
    is_whole = len(starts) == count and size == int(shapes.prod(axis=1).sum())
    if not is_whole or not _is_unchanged(cache, checks):
        log.warning("%s is damaged and is built anew", path)
        return None
    return cache


def _is_unchanged(cache: PixelCache, checks: npt.NDArray[np.int64]) -> bool:
    picked = np.unique(np.linspace(0, len(cache) - 1, min(len(cache), _CHECKED)).astype(int))
    return all(_checksum(cache[position]) == checks[position] for position in picked)


def _checksum(pixels: Pixels | None) -> int:
    return 0 if pixels is None else zlib.crc32(np.ascontiguousarray(pixels).data)


def _built(
    folder: Path, key: str, decode: Decode, count: int, workers: int, progress: Progress
) -> PixelCache:
    temporary = Path(tempfile.mkdtemp(prefix=f"{key}.tmp-", dir=folder))
    temporary.chmod(folder.stat().st_mode)  # whoever may read the folder may read the cache
    try:
        _write(temporary, decode, count, workers, progress)
        with suppress(OSError):  # where files cannot be locked, another run may have been faster
            temporary.rename(folder / key)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    found = opened(folder / key, count)
    if found is None:
        raise OSError(f"{folder / key} was written but cannot be read; is the disk damaged?")
    return found


def _write(folder: Path, decode: Decode, count: int, workers: int, progress: Progress) -> None:
    shapes, checks = [], []
    with (folder / "pixels.bin").open("wb") as file:
        for pixels, found, sums in _decoded(decode, count, workers, progress):
            file.write(pixels.data)
            shapes.append(found)
            checks.append(sums)
        file.flush()
        os.fsync(file.fileno())
    sizes = np.concatenate(shapes).prod(axis=1)
    np.savez(
        folder / "index.npz",
        starts=np.cumsum(sizes) - sizes,
        shapes=np.concatenate(shapes),
        checks=np.concatenate(checks),
    )


class _Decoding(Dataset[Any]):
    """Decodes whole batches of positions, in whatever process."""

    def __init__(self, decode: Decode, count: int) -> None:
        self.decode, self.count = decode, count

    def __len__(self) -> int:
        return -(-self.count // _BATCH)

    def __getitem__(self, batch: int) -> tuple[Pixels, Any, Any]:
        positions = range(batch * _BATCH, min((batch + 1) * _BATCH, self.count))
        images = [self.decode(position) for position in positions]
        shapes = np.zeros((len(images), _AXES), np.int64)
        for row, image in zip(shapes, images, strict=True):
            if image is not None:
                row[:] = (*image.shape, 1, 1)[:_AXES]
        sums = np.array([_checksum(image) for image in images], np.int64)
        parts = [image.reshape(-1) for image in images if image is not None]
        pixels: Pixels = np.concatenate([*parts, np.empty(0, np.uint8)])
        return pixels, shapes, sums


def _as_it_is(batch: Any) -> Any:
    # Arrays come through a pipe. Tensors would come through shared memory, and a worker that finds
    # it full says nothing and leaves its batch out: whoever waits for it waits for ever.
    return batch


def _decoded(
    decode: Decode, count: int, workers: int, progress: Progress
) -> Iterator[tuple[Pixels, Any, Any]]:
    """Decodes all images in order, batch by batch, and reports how many there are.

    Raises:
        RuntimeError: A process that decodes has ended.
    """
    batches = DataLoader(
        _Decoding(decode, count),
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_it_is,
        generator=torch.Generator(),  # so that a run draws alike whether it builds or finds a cache
    )
    with progress(f"decoding {count:,} images once", count) as advance:
        for pixels, shapes, sums in batches:
            yield pixels, shapes, sums
            advance(len(sums))


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Waits for other processes; the system unlocks when this one ends, however it ends.

    Yields:
        Whether the file system can lock, so that no other process is at it.
    """
    with path.open("w") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
            is_alone = True
        except (ImportError, OSError):
            is_alone = False
        yield is_alone
