"""Which data sets are decoded once, what of them is kept, and where."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt
import platformdirs

from ...config.sizes import format_bytes
from ...errors import ConfigError, ConfigProblem
from ..progress import Progress, log_task
from ..samples import Samples
from ..sources.decoding import Pixels
from ..sources.image_reader import ImageReader, file_loader_of
from ..streams import StreamedSamples
from .decode import decode_into_memory
from .file import CacheKey
from .folder import CacheFolder
from .memory import free_memory
from .pixels import PixelCache
from .reader import cached_reader
from .storage import Storage, choose_storage

log = logging.getLogger(__name__)

AnySamples = TypeVar("AnySamples", bound=Samples | StreamedSamples)

_MEMORY_SHARE = 1 / 2


def default_folder() -> Path | None:
    """Where caches are kept unless `run.cache_dir` says: the user's cache folder, if there is one.

    None where the user has no home, as in some containers.
    """
    try:
        folder = platformdirs.user_cache_path("sesemi_like", appauthor=False)
    except RuntimeError:
        return None
    return folder if folder.is_absolute() else None  # older versions leave a "~" as it is


def cache_samples(
    samples: AnySamples,
    kind: str = "auto",
    *,
    side: int | None = None,
    folder: Path | None = None,
    limit: int | None = None,
    workers: int = 0,
) -> AnySamples:
    """Decodes the images of a data set once, where that is requested or worthwhile.

    Args:
        samples: A data set.
        kind: As in :func:`plan_cache`.
        side: As in :func:`plan_cache`.
        folder: As in :func:`plan_cache`.
        limit: As in :func:`plan_cache`.
        workers: Processes that decode; 0 decodes in this one.

    Returns:
        The data set that reads from the cache, or `samples` where nothing is kept.

    Raises:
        ConfigError: As :meth:`CachePlan.build`.
    """
    plan = plan_cache(samples, kind, side=side, folder=folder, limit=limit)
    return cast(AnySamples, plan.build(workers)) if plan else samples


def plan_cache(
    samples: Samples | StreamedSamples,
    kind: str = "auto",
    *,
    side: int | None = None,
    folder: Path | None = None,
    limit: int | None = None,
    processes: int = 1,
) -> CachePlan | None:
    """Decides what of a data set is decoded once and where it is kept, and decodes nothing yet.

    The results of a deterministic transform that returns uint8 tensors are kept: batches are then
    looked up. Of other data sets the decoded images are kept, and transformed whenever they are
    read.

    Args:
        samples: A data set.
        kind: ``disk`` keeps pixels in a file that later runs reuse, ``ram`` in memory, ``none``
            nowhere. ``auto`` uses the disk if they fit into `limit` and it can be written, else
            memory if they fit into half of what is free, divided by the processes on this machine,
            each of which keeps its own, else none; it never keeps images smaller than they are,
            and does nothing for data sets without image files.
        side: Larger images are kept at this shorter side, in pixels; None: 8/7 of the side of the
            transform's output, as 256 for 224. Not used where the transform's results are kept.
        folder: Where files are kept; None is :func:`default_folder`.
        limit: Bytes that all caches in the folder may take together; None as in
            :class:`~sesemi_like.data.cache.folder.CacheFolder`, which ``disk`` may exceed.
        processes: Processes of the run on this machine.

    Returns:
        The plan, or None where nothing is kept.

    Raises:
        ConfigError: If `kind` is `ram` or `disk` and the data set has no image files, or they do
            not fit.
    """
    if kind == "none" or (isinstance(samples, Samples) and not len(samples)):
        return None
    reader = _file_reader(samples)
    if not isinstance(samples, Samples) or reader is None:
        if kind == "auto":
            return None
        raise _error(kind, "this kind of data set has no image files to decode; give auto or none")
    positions = np.unique(samples.positions)
    chosen = choose_storage(reader, positions, side, is_lossless=kind == "auto")
    if chosen is None:
        return None
    storage, size = chosen
    plan = CachePlan(
        samples,
        storage,
        positions,
        kind,
        needed=int(size * len(positions)),
        folder=folder or default_folder(),
        limit=limit,
        key=storage.key(positions),
        processes=processes,
    )
    locations = plan.locations()
    if kind == "auto" and "disk" not in locations:
        log.info(
            "pixels of %s are not kept on disk: run.cache_limit or the free space there is smaller",
            format_bytes(plan.needed),
        )
    return plan if locations else None


@dataclass(frozen=True)
class CachePlan:
    """What of a data set is decoded once, and where it is kept.

    Attributes:
        samples: The data set.
        storage: What is kept of an image.
        positions: The images.
        kind: ``auto``, ``disk`` or ``ram``.
        needed: Bytes that the pixels take.
        folder: Where files are kept.
        limit: Bytes that all caches in it may take together; None takes the default.
        key: What the pixels depend on.
        processes: Processes of the run on this machine.
    """

    samples: Samples
    storage: Storage
    positions: npt.NDArray[np.int64]
    kind: str
    needed: int
    folder: Path | None
    limit: int | None
    key: CacheKey
    processes: int = 1

    @property
    def looks_up(self) -> bool:
        """Whether samples will only be looked up, with nothing left to be done to them."""
        return self.storage.is_transformed

    def locations(self) -> list[str]:
        """The storage that has room now, of ``disk`` and ``ram``, the preferred one first.

        Raises:
            ConfigError: If `kind` names one that has not.
        """
        room = {"disk": self._room_on_disk(), "ram": free_memory() // self.processes}
        if self.kind == "auto":
            room["ram"] = int(room["ram"] * _MEMORY_SHARE)
            return [name for name in room if self.needed < room[name]]
        if self.kind == "disk" and self.folder is None:
            raise _error(self.kind, "there is no home folder to keep it in; give run.cache_dir")
        if self.needed > room[self.kind]:
            raise _error(self.kind, self._shortage(room[self.kind]))
        return [self.kind]

    def _shortage(self, room: int) -> str:
        """Says that the pixels do not fit, and what would help."""
        needed, free = format_bytes(self.needed), format_bytes(room)
        if self.kind == "disk" and self.limit == room:
            return f"the pixels take {needed}; give a run.cache_limit of more than {free}, or none"
        where = f"in {self.folder}" if self.kind == "disk" else "of memory"
        return (
            f"the pixels take {needed}, and {free} {where} are free; "
            "give a smaller cache_side, or none"
        )

    def _room_on_disk(self) -> int:
        """Bytes that the cache may take on the disk, after other caches have been removed."""
        if self.folder is None:
            return 0
        caches = CacheFolder(self.folder, self.limit)
        if caches.has(self.key):
            return sys.maxsize  # it need not be written
        return (
            min(caches.bytes_free, caches.bytes_allowed) if self._is_bounded else caches.bytes_free
        )

    @property
    def _is_bounded(self) -> bool:
        """Whether the cache must fit into the limit; ``disk`` may exceed the default one."""
        return self.kind == "auto" or self.limit is not None

    def build(self, workers: int = 0, progress: Progress = log_task) -> Samples:
        """Finds or builds the cache, and returns the data set that reads from it.

        Args:
            workers: Processes that decode; 0 decodes in this one.
            progress: Shows how many images have been decoded.

        Returns:
            `samples` itself where `auto` finds no storage with room.

        Raises:
            ConfigError: If the storage that `kind` names has no room any more, the folder cannot be
                written, or a process that decodes has ended.
        """
        try:
            cache = self._build_cache(workers, progress)
        except (RuntimeError, MemoryError) as error:
            expected = f"decoding ended: {_reason(error)}; none decodes images as they are read"
            raise _error(self.kind, expected) from error
        if cache is None:
            return self.samples
        storage, cached = self.storage, self.samples.select(np.arange(len(self.samples)))
        cached.read = cached_reader(
            storage.reader, cache, self.positions, is_transformed=storage.is_transformed
        )
        return cached

    def _build_cache(self, workers: int, progress: Progress) -> PixelCache | None:
        decode, count = _Decode(self.storage, self.positions), len(self.positions)
        for location in self.locations():  # again, for other data sets have been decoded since
            if location == "ram" or self.folder is None:
                return decode_into_memory(decode, count, workers, progress)
            try:
                return CacheFolder(self.folder, self.limit).open_or_build(
                    self.key,
                    decode,
                    size=self.needed,
                    is_bounded=self._is_bounded,
                    workers=workers,
                    progress=progress,
                )
            except OSError as error:
                reason = f"no cache can be kept in {self.folder}: {error}"
                if self.kind != "auto":
                    raise _error(self.kind, reason) from error
                log.warning("%s", reason)
        return None


class _Decode:
    """Reads the image in a row of a cache; an object, so that it can be pickled."""

    def __init__(self, storage: Storage, positions: npt.NDArray[np.int64]) -> None:
        self.storage, self.positions = storage, positions

    def __call__(self, row: int) -> Pixels | None:
        return self.storage.pixels(int(self.positions[row]))


def _file_reader(samples: Samples | StreamedSamples) -> ImageReader | None:
    if not isinstance(samples, Samples) or file_loader_of(samples) is None:
        return None
    return samples.read if isinstance(samples.read, ImageReader) else None


def _reason(error: BaseException) -> str:
    """What a worker process died of: its traceback's last line, or how it was ended."""
    lines = [*str(error).splitlines(), *str(error.__cause__ or "").splitlines()]
    return next((line for line in reversed(lines) if line), type(error).__name__).strip(" .")


def _error(kind: str, expected: str) -> ConfigError:
    return ConfigError([ConfigProblem("cache", kind, expected)])
