"""Images decoded once and kept in a file, which later runs find again.

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
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...locks import locked
from ..progress import Progress, log_task
from .decode import Decode, checksum, decode_batches
from .pixels import FilePixels, PixelCache

FORMAT = 2
_CHECKED = 64

log = logging.getLogger(__name__)


def cache_key(parts: Iterable[str]) -> str:
    """The name of a cache: a digest of everything its pixels depend on."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (f"format {FORMAT}", *parts):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def open_or_build(
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
        key: Its name, from :func:`cache_key`.
        decode: Reads an image.
        count: N.
        workers: Processes that decode; 0 decodes in this one.
        progress: Shows how many images have been decoded.

    Raises:
        OSError: The folder cannot be written, or the disk is full.
        RuntimeError: A process that decodes has ended; nothing is left behind.
    """
    cache = open_cache(folder / key, count)
    if cache is not None:
        return cache
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f"{key}.lock") as is_alone:
        if is_alone:
            for left in folder.glob(f"{key}.tmp-*"):  # of a build that was killed
                shutil.rmtree(left, ignore_errors=True)
        cache = open_cache(folder / key, count)
        if cache is None:
            shutil.rmtree(folder / key, ignore_errors=True)  # it is not there, or damaged
            cache = _build(folder, key, decode, count, workers, progress)
        return cache


def open_cache(path: Path, count: int) -> PixelCache | None:
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
    offsets = np.stack([np.zeros_like(starts), starts], axis=1)
    cache = PixelCache([FilePixels(path / "pixels.bin")], offsets, shapes)
    is_whole = len(starts) == count and size == int(shapes.prod(axis=1).sum())
    if not is_whole or not _is_unchanged(cache, checks):
        log.warning("%s is damaged and is built anew", path)
        return None
    return cache


def _is_unchanged(cache: PixelCache, checks: npt.NDArray[np.int64]) -> bool:
    positions = np.unique(np.linspace(0, len(cache) - 1, min(len(cache), _CHECKED)).astype(int))
    return all(checksum(cache[position]) == checks[position] for position in positions)


def _build(
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
    cache = open_cache(folder / key, count)
    if cache is None:
        raise OSError(f"{folder / key} was written but cannot be read; is the disk damaged?")
    return cache


def _write(folder: Path, decode: Decode, count: int, workers: int, progress: Progress) -> None:
    shapes, checks = [], []
    with (folder / "pixels.bin").open("wb") as file:
        for pixels, batch_shapes, sums in decode_batches(decode, count, workers, progress):
            file.write(pixels.data)
            shapes.append(batch_shapes)
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
