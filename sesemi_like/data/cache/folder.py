"""The folder of caches: found, built once by one process, and bounded in size.

Beside each cache of decoded images lies the lock of whoever builds it. A cache is written under
another name and renamed when it is whole. Processes claim the caches that they use, which are not
removed as long as they live.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ...config.sizes import format_bytes
from ...locks import Claim, is_claimed, locked, remove_unlocked
from ..progress import Progress, log_task
from .decode import Decode
from .file import (
    INDEX,
    PIXELS,
    CachedImages,
    CacheKey,
    Make,
    decode_rows,
    open_cache,
    write_cache,
)
from .pixels import PixelCache

_NAME = re.compile(r"(?:[0-9a-f]{16}-)?[0-9a-f]{32}")  # without settings: before format 3
_UNFINISHED, _LOCK, _FOLDER_LOCK = ".tmp-", ".lock", "caches.lock"
_DEFAULT_SHARE, _LARGEST_DEFAULT = 10, 50 * 10**9

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CacheFolder:
    """Where caches are kept.

    Attributes:
        path: The folder; created if needed.
        limit: Bytes that all caches in it may take. None is a tenth of what would be free on its
            disk without them, at most 50 GB.
    """

    path: Path
    limit: int | None = None

    @property
    def bytes_allowed(self) -> int:
        """Bytes that all caches may take."""
        if self.limit is not None:
            return self.limit
        kept = sum(map(_size, self._caches()))
        return min((self.bytes_free + kept) // _DEFAULT_SHARE, _LARGEST_DEFAULT)

    @property
    def bytes_free(self) -> int:
        """Bytes that are free on the disk."""
        parents = (self.path, *self.path.absolute().parents)
        return shutil.disk_usage(next(path for path in parents if path.exists())).free

    def has(self, key: CacheKey) -> bool:
        """Whether there is a cache."""
        return (self.path / key.name).is_dir()

    def open_or_build(
        self,
        key: CacheKey,
        decode: Decode,
        *,
        size: int = 0,
        is_bounded: bool = True,
        workers: int = 0,
        progress: Progress = log_task,
    ) -> PixelCache:
        """Opens a cache of images, after decoding them if it is not there or damaged.

        Args:
            key: What it depends on.
            decode: Reads the image of a row.
            size: Bytes that it is going to take.
            is_bounded: Whether nothing is built where the limit cannot be kept to.
            workers: Processes that decode; 0 decodes in this one.
            progress: Shows how many images have been decoded.

        Raises:
            OSError: The folder cannot be written, the disk is full, or the limit is reached.
            RuntimeError: A process that decodes has ended; nothing is left behind.
        """
        make = partial(decode_rows, decode, workers=workers, progress=progress)
        return self.open_or_make(key, make, size=size, is_bounded=is_bounded)

    def open_or_make(
        self, key: CacheKey, make: Make, *, size: int = 0, is_bounded: bool = True
    ) -> PixelCache:
        """Opens a cache, after building it if it is not there or damaged.

        Of runs that start together one builds, and the others wait for it. A build that is killed
        leaves nothing that looks whole, and the next one removes it. Images whose files have not
        changed are copied from earlier caches. Caches that no process uses are removed, those
        first that have not been used for longest, until the limit is kept to.

        Args:
            key: What it depends on.
            make: Makes the content of rows; what it raises is passed on, and nothing is left.
            size: Bytes that it is going to take.
            is_bounded: Whether nothing is built where the limit cannot be kept to.

        Raises:
            OSError: The folder cannot be written, the disk is full, or the limit is reached.
        """
        cache = self._open(key)
        if cache is not None:
            return cache
        self.path.mkdir(parents=True, exist_ok=True)
        lock = self.path / f"{key.name}{_LOCK}"
        try:
            with locked(lock):
                cache = self._build(key, make, size, is_bounded)
        finally:
            remove_unlocked(lock)  # whoever waits for it still gets it, one after the other
        if cache is None:
            path = self.path / key.name
            raise OSError(f"{path} was written but cannot be read; is the disk damaged?")
        return cache

    def _open(self, key: CacheKey) -> PixelCache | None:
        if not self.has(key):
            return None
        with locked(self.path / _FOLDER_LOCK):  # so that nobody removes it before it is claimed
            return self._open_while_locked(key)

    def _open_while_locked(self, key: CacheKey) -> PixelCache | None:
        path = self.path / key.name
        cache = open_cache(path, len(key.files)) if self.has(key) else None
        if cache is None:
            return None
        with suppress(OSError):  # a folder that cannot be written is read
            os.utime(path / INDEX)
        return cache.pixels

    def _build(self, key: CacheKey, make: Make, size: int, is_bounded: bool) -> PixelCache | None:
        """Builds a cache, unless another run has by now; None if it cannot be read afterwards."""
        with locked(self.path / _FOLDER_LOCK) as is_alone:
            cache = self._open_while_locked(key)
            if cache is not None:
                return cache
            shutil.rmtree(self.path / key.name, ignore_errors=True)  # it is not there, or damaged
            earlier = list(self._earlier_caches(key))
            if is_alone:
                self._remove_unfinished()
                self._make_room(size, [cache.path for cache in earlier], is_bounded=is_bounded)
            unfinished = Path(tempfile.mkdtemp(prefix=f"{key.name}{_UNFINISHED}", dir=self.path))
            unfinished.chmod(self.path.stat().st_mode)  # who may read the folder may read the cache
            claim = Claim(unfinished)
        try:
            write_cache(unfinished, key, make, earlier)
            with suppress(OSError):  # without locks another run may have been faster
                unfinished.rename(self.path / key.name)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        del earlier
        with locked(self.path / _FOLDER_LOCK) as is_alone:
            if is_alone:
                built = self.path / key.name
                self._make_room(_size(built), [built], is_bounded=False)
        cache = self._open(key)
        claim.release()
        return cache

    def _earlier_caches(self, key: CacheKey) -> Iterator[CachedImages]:
        """Caches of the same settings that hold files which those before do not, the last first."""
        is_wanted = np.ones(len(key.files), np.bool_)
        similar = [path for path in self._caches() if path.name.startswith(f"{key.settings}-")]
        for path in sorted(similar, key=_last_used, reverse=True):
            cache = open_cache(path) if is_wanted.any() else None
            if cache is None:
                continue
            is_there = cache.rows_of(key.files) >= 0
            if np.any(is_wanted & is_there):
                is_wanted &= ~is_there
                yield cache

    def _caches(self) -> list[Path]:
        """The folders of whole caches."""
        try:
            return [path for path in self.path.iterdir() if _is_cache(path)]
        except OSError:
            return []

    def _remove_unfinished(self) -> None:
        """Removes what killed processes have left."""
        for path in self.path.glob(f"*{_UNFINISHED}*"):
            if _NAME.fullmatch(path.name.split(_UNFINISHED)[0]) and not is_claimed(path):
                shutil.rmtree(path, ignore_errors=True)

    def _make_room(self, size: int, exempt: Collection[Path], *, is_bounded: bool) -> None:
        """Removes caches that no process uses, the least recently used first.

        Args:
            size: Bytes that the new cache takes.
            exempt: Caches that neither are removed nor count: the new one, and those it replaces.
            is_bounded: Whether it is an error if the limit cannot be kept to.
        """
        limit = self.bytes_allowed
        sizes = {path: _size(path) for path in self._caches() if path not in exempt}
        unused = [path for path in sorted(sizes, key=_last_used) if not is_claimed(path)]
        used = sum(sizes.values()) - sum(sizes[path] for path in unused)
        if is_bounded and used + size > limit:
            raise OSError(
                f"{format_bytes(size)} more, beside {format_bytes(used)} that are in use, exceed "
                f"the {format_bytes(limit)} that run.cache_limit allows"
            )
        excess = sum(sizes.values()) + size - limit
        for path in unused:
            if excess <= 0:
                break
            age = (time.time() - _last_used(path)) / 86400
            log.info(
                "removing the cache %s (%s, last used %.0f days ago): run.cache_limit allows %s",
                path, format_bytes(sizes[path]), age, format_bytes(limit),
            )  # fmt: skip
            _remove(path)
            excess -= sizes[path]


def _is_cache(path: Path) -> bool:
    """Whether a folder is a cache, of this version or an earlier one, and nothing else."""
    if not _NAME.fullmatch(path.name) or not path.is_dir():
        return False
    names = {file.name for file in path.iterdir()}
    return bool(names & {PIXELS, INDEX}) and all(
        name in (PIXELS, INDEX) or name.endswith(_LOCK) for name in names
    )


def _remove(path: Path) -> None:
    """Removes a cache; what is left of it if this process is killed does not look whole."""
    unfinished = path.with_name(f"{path.name}{_UNFINISHED}removed")
    with suppress(OSError):
        path.rename(unfinished)
    shutil.rmtree(unfinished, ignore_errors=True)
    remove_unlocked(path.with_name(f"{path.name}{_LOCK}"))


def _last_used(path: Path) -> float:
    """When a cache was last opened; 0 where that is not known."""
    try:
        return (path / INDEX).stat().st_mtime
    except OSError:
        return 0.0


def _size(path: Path) -> int:
    """Bytes of a cache; 0 where it is not there any more."""
    with suppress(OSError):
        return sum(file.stat().st_size for file in path.iterdir())
    return 0
