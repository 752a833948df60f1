"""Which data sets are decoded once, what of them is kept, and where."""

from __future__ import annotations

import logging
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import platformdirs

from ...errors import ConfigError, ConfigProblem
from ..progress import Progress, log_task
from ..samples import Samples, StreamedSamples
from ..sources.decoding import Pixels
from ..sources.image_reader import ImageReader, file_loader_of
from .decode import decode_into_memory
from .file import open_or_build
from .memory import free_memory
from .pixels import PixelCache
from .reader import cached_reader
from .storage import Storage, choose_storage

log = logging.getLogger(__name__)

_DISK_SHARE, _MEMORY_SHARE = 1 / 3, 1 / 2


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
    samples: Samples | StreamedSamples,
    kind: str = "auto",
    *,
    side: int | None = None,
    folder: Path | None = None,
    workers: int = 0,
) -> Samples | StreamedSamples:
    """Decodes the images of a data set once, where that is asked for or pays.

    Args:
        samples: A data set.
        kind: As in :func:`plan_cache`, as `side` and `folder`.
        side: See there.
        folder: See there.
        workers: Processes that decode; 0 decodes in this one.

    Returns:
        The data set that reads from the cache, or `samples` where nothing is kept.

    Raises:
        ConfigError: As :meth:`CachePlan.build`.
    """
    plan = plan_cache(samples, kind, side=side, folder=folder)
    return plan.build(workers) if plan else samples


def plan_cache(
    samples: Samples | StreamedSamples,
    kind: str = "auto",
    *,
    side: int | None = None,
    folder: Path | None = None,
    processes: int = 1,
) -> CachePlan | None:
    """Settles what of a data set is decoded once and where it is kept, and decodes nothing yet.

    A transform that always does the same and returns uint8 tensors is applied before anything is
    kept: workers then only look rows up. Of other data sets the decoded images are kept, and
    transformed whenever they are read.

    Args:
        samples: A data set.
        kind: ``disk`` keeps pixels in a file that later runs find again, ``ram`` in memory,
            ``none`` nowhere. ``auto`` takes the disk if they fit into a third of what is free there
            and it can be written, else memory if they fit into half of what is free, shared out
            over the processes on this machine, each of which keeps its own, else none; it never
            keeps images smaller than they are, and leaves data sets alone that have no image
            files.
        side: Larger images are kept at this shorter side, in pixels; None: 8/7 of the side that
            the transform delivers, as 256 for 224. Not used where the transform is applied before.
        folder: Where files are kept; None is :func:`default_folder`.
        processes: Processes of the run on this machine.

    Returns:
        The plan, or None where nothing is kept.

    Raises:
        ConfigError: If `ram` or `disk` is asked for and the data set has no image files, or they
            do not fit.
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
    folder, needed = folder or default_folder(), int(size * len(positions))
    key = storage.key(positions)
    plan = CachePlan(samples, storage, positions, kind, needed, folder, key, processes)
    return plan if plan.locations() else None


@dataclass(frozen=True)
class CachePlan:
    """What of a data set is decoded once, and where it is kept.

    Attributes:
        samples: The data set.
        storage: What is kept of an image.
        positions: The images.
        kind: What was asked for.
        needed: Bytes that the pixels take.
        folder: Where files are kept.
        key: The name of the cache.
        processes: Processes of the run on this machine.
    """

    samples: Samples
    storage: Storage
    positions: npt.NDArray[np.int64]
    kind: str
    needed: int
    folder: Path | None
    key: str
    processes: int = 1

    @property
    def looks_up(self) -> bool:
        """Whether samples will only be looked up, with nothing left to be done to them."""
        return self.storage.is_transformed

    def locations(self) -> list[str]:
        """Where the pixels may be kept as things are, ``disk`` or ``ram``, the better place first.

        Raises:
            ConfigError: If they do not fit where they were asked for.
        """
        free = {"disk": _free_disk(self.folder), "ram": free_memory() // self.processes}
        if self.folder is not None and (self.folder / self.key).is_dir():
            free["disk"] = sys.maxsize  # what is there need not be written
        if self.kind == "auto":
            shares = {"disk": _DISK_SHARE, "ram": _MEMORY_SHARE}
            return [name for name in free if self.needed < shares[name] * free[name]]
        if self.kind == "disk" and self.folder is None:
            raise _error(self.kind, "there is no home folder to keep it in; give run.cache_dir")
        if self.needed > free[self.kind]:
            where = f"in {self.folder}" if self.kind == "disk" else "of memory"
            sizes = f"take {self.needed / 1e9:.1f} GB, and {free[self.kind] / 1e9:.1f} GB {where}"
            raise _error(
                self.kind, f"the pixels {sizes} are free; give a smaller cache_side, or none"
            )
        return [self.kind]

    def build(self, workers: int = 0, progress: Progress = log_task) -> Samples:
        """Finds or builds the cache, and returns the data set that reads from it.

        Args:
            workers: Processes that decode; 0 decodes in this one.
            progress: Shows how many images have been decoded.

        Returns:
            `samples` itself where `auto` finds no place that takes the pixels.

        Raises:
            ConfigError: If the pixels do not fit where they were asked for by now, the folder
                cannot be written, or a process that decodes has ended.
        """
        try:
            cache = self._cache(workers, progress)
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

    def _cache(self, workers: int, progress: Progress) -> PixelCache | None:
        decode, count = _Decode(self.storage, self.positions), len(self.positions)
        for location in self.locations():  # again, for other data sets have been decoded since
            if location == "ram" or self.folder is None:
                return decode_into_memory(decode, count, workers, progress)
            try:
                return open_or_build(self.folder, self.key, decode, count, workers, progress)
            except OSError as error:
                reason = f"no cache can be kept in {self.folder}: {error}"
                if self.kind != "auto":
                    raise _error(self.kind, reason) from error
                log.warning("%s", reason)
        return None


class _Decode:
    """Reads the image in a row of a cache; an object, so that processes can be handed it."""

    def __init__(self, storage: Storage, positions: npt.NDArray[np.int64]) -> None:
        self.storage, self.positions = storage, positions

    def __call__(self, row: int) -> Pixels | None:
        return self.storage.pixels(int(self.positions[row]))


def _file_reader(samples: Samples | StreamedSamples) -> ImageReader | None:
    if not isinstance(samples, Samples) or file_loader_of(samples) is None:
        return None
    return samples.read if isinstance(samples.read, ImageReader) else None


def _free_disk(folder: Path | None) -> int:
    if folder is None:
        return 0
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def _reason(error: BaseException) -> str:
    """What a worker process died of: its traceback's last line, or how it was ended."""
    lines = [*str(error).splitlines(), *str(error.__cause__ or "").splitlines()]
    return next((line for line in reversed(lines) if line), type(error).__name__).strip(" .")


def _error(kind: str, expected: str) -> ConfigError:
    return ConfigError([ConfigProblem("cache", kind, expected)])
