"""Which data sets are decoded once, what of them is kept, and where."""

from __future__ import annotations

import logging
import math
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.utils._pytree import tree_leaves

from ...errors import ConfigError, ConfigProblem
from ..progress import Progress, log_task
from ..samples import (
    UNREADABLE,
    ImageReader,
    Sample,
    Samples,
    StreamedSamples,
    is_deterministic,
    to_uint8,
)
from ..sources import decoding
from ..sources.decoding import Pixels, shrink
from .file import PixelCache, in_memory, key_of, on_disk
from .memory import free_memory

log = logging.getLogger(__name__)

_TRIED, _SMALL_SIDE, _SMALLEST_KEPT_SIDE = 8, 256, 64
_DISK_SHARE, _MEMORY_SHARE = 1 / 3, 1 / 2


def default_folder() -> Path | None:
    """Where caches are kept unless `run.cache_dir` says: the user's cache folder, if there is one.

    None where the user has no home, as in some containers.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sesemi_like"
    except RuntimeError:
        return None


def with_cache(
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
        ConfigError: As :meth:`CachePlan.carried_out`.
    """
    plan = plan_cache(samples, kind, side=side, folder=folder)
    return plan.carried_out(workers) if plan else samples


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
    return plan if plan.places() else None


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

    def places(self) -> list[str]:
        """Where the pixels may be kept as things are, ``disk`` or ``ram``, the better place first.

        Raises:
            ConfigError: If they do not fit where they were asked for.
        """
        free = {"disk": _free_disk(self.folder), "ram": free_memory() // self.processes}
        if self.folder is not None and (self.folder / self.key).is_dir():
            free["disk"] = sys.maxsize  # what is there need not be written
        if self.kind == "auto":
            shares = {"disk": _DISK_SHARE, "ram": _MEMORY_SHARE}
            return [place for place in free if self.needed < shares[place] * free[place]]
        if self.kind == "disk" and self.folder is None:
            raise _error(self.kind, "there is no home folder to keep it in; give run.cache_dir")
        if self.needed > free[self.kind]:
            where = f"in {self.folder}" if self.kind == "disk" else "of memory"
            sizes = f"take {self.needed / 1e9:.1f} GB, and {free[self.kind] / 1e9:.1f} GB {where}"
            raise _error(
                self.kind, f"the pixels {sizes} are free; give a smaller cache_side, or none"
            )
        return [self.kind]

    def carried_out(self, workers: int = 0, progress: Progress = log_task) -> Samples:
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
        cached.read = CachedReader(
            storage.reader, cache, self.positions, is_transformed=storage.is_transformed
        )
        return cached

    def _cache(self, workers: int, progress: Progress) -> PixelCache | None:
        decode, count = _Decode(self.storage, self.positions), len(self.positions)
        for place in self.places():  # again, for other data sets have been decoded since
            if place == "ram" or self.folder is None:
                return in_memory(decode, count, workers, progress)
            try:
                return on_disk(self.folder, self.key, decode, count, workers, progress)
            except OSError as error:
                reason = f"no cache can be kept in {self.folder}: {error}"
                if self.kind != "auto":
                    raise _error(self.kind, reason) from error
                log.warning("%s", reason)
        return None


@dataclass(frozen=True)
class Storage:
    """What is kept of each image of a data set.

    Attributes:
        reader: The data set's reader.
        is_transformed: Whether the transform's result is kept, else the decoded image.
        side: The shorter side that larger images are kept at; None keeps them as they are.
    """

    reader: ImageReader
    is_transformed: bool
    side: int | None = None

    def pixels(self, position: int) -> Pixels | None:
        """What is kept of an image: uint8 (H, W, C); None where it cannot be read."""
        try:
            if self.is_transformed:
                image: torch.Tensor = self.reader(position)["image"]
                return np.ascontiguousarray(image.permute(1, 2, 0).numpy())
            least = None if self.side is None else 2 * self.side
            pixels = np.asarray(self.reader.load(position, least))
        except UNREADABLE:
            return None
        return pixels if self.side is None else shrink(pixels, self.side)

    def key(self, positions: npt.NDArray[np.int64]) -> str:
        """The name of the cache: the files, and how they are decoded."""
        settings = f"{self.reader.image_transform}" if self.is_transformed else f"side {self.side}"
        files = (self.reader.load.fingerprint(int(p)) for p in positions)  # type: ignore[attr-defined]
        return key_of([settings, f"decoding {decoding.VERSION}", *files])


def choose_storage(
    reader: ImageReader, positions: npt.NDArray[np.int64], side: int | None, *, is_lossless: bool
) -> tuple[Storage, float] | None:
    """Settles what is kept, by a look at a few images.

    Args:
        reader: The data set's reader.
        positions: The images.
        side: The shorter side that is asked for, if any.
        is_lossless: Whether images must be kept as they are.

    Returns:
        What is kept, and the mean bytes of an image; None where images would have to be kept
        smaller than they are, or none can be read.
    """
    tried = _tried(positions)
    made = [sample for p in tried if (sample := _read(reader, p)) is not None]
    if not made:
        return None
    if is_deterministic(reader.image_transform) and all(_is_uint8(sample) for sample in made):
        size = float(np.mean([sample["image"].numel() for sample in made]))
        return Storage(reader, is_transformed=True), size
    side = None if is_lossless else side or _kept_side(made)
    kept = Storage(reader, is_transformed=False, side=side)
    found = [pixels for p in tried if (pixels := kept.pixels(p)) is not None]
    if is_lossless and any(min(pixels.shape[:2]) > _SMALL_SIDE for pixels in found):
        return None
    return kept, float(np.mean([pixels.size for pixels in found] or [0]))


class CachedReader:
    """Reads samples from a cache.

    Args:
        reader: Reads what is not in it, and has the transform.
        cache: The pixels.
        positions: The position of each of its images, ascending.
        is_transformed: Whether it holds the transform's results.

    Attributes:
        take: Reads several samples at once: positions to stacked fields; None where images
            differ in shape or are still to be transformed.
        is_deterministic: Whether what is left to do is known to draw nothing.
    """

    def __init__(
        self,
        reader: ImageReader,
        cache: PixelCache,
        positions: npt.NDArray[np.int64],
        *,
        is_transformed: bool,
    ) -> None:
        self.reader, self.cache, self.positions = reader, cache, positions
        self.is_transformed = is_transformed
        self.is_deterministic = is_transformed or reader.is_deterministic
        self.take = self._take if is_transformed and cache.is_one_shape else None

    def __call__(self, position: int) -> Sample:
        """Reads the sample at a position."""
        pixels = self.cache[int(np.searchsorted(self.positions, position))]
        if pixels is None:
            return self.reader(position)  # says why it cannot be read
        if self.is_transformed:
            return {"image": to_uint8(pixels)}
        return self.reader.made(pixels)

    def _take(self, positions: npt.NDArray[np.int64]) -> Sample:
        rows = np.searchsorted(self.positions, positions)
        return {"image": torch.from_numpy(self.cache.take(rows)).permute(0, 3, 1, 2)}


class _Decode:
    """Reads the image in a row of a cache; an object, so that processes can be handed it."""

    def __init__(self, storage: Storage, positions: npt.NDArray[np.int64]) -> None:
        self.storage, self.positions = storage, positions

    def __call__(self, row: int) -> Pixels | None:
        return self.storage.pixels(int(self.positions[row]))


def _file_reader(samples: Samples | StreamedSamples) -> ImageReader | None:
    reader = getattr(samples, "read", None)
    reads_files = isinstance(reader, ImageReader) and hasattr(reader.load, "fingerprint")
    return reader if reads_files else None


def _tried(positions: npt.NDArray[np.int64]) -> list[int]:
    picked = np.linspace(0, len(positions) - 1, min(len(positions), _TRIED)).astype(int)
    return [int(positions[i]) for i in np.unique(picked)]


def _read(reader: ImageReader, position: int) -> Sample | None:
    try:
        return reader(position)
    except UNREADABLE:
        return None


def _is_uint8(sample: Sample) -> bool:
    image = sample.get("image")
    return (
        set(sample) == {"image"} and isinstance(image, torch.Tensor) and image.dtype == torch.uint8
    )


def _kept_side(made: list[Sample]) -> int:
    leaves = tree_leaves(made)
    images = [v for v in leaves if isinstance(v, torch.Tensor) and v.ndim >= 2]
    delivered = max((max(image.shape[-2:]) for image in images), default=_SMALL_SIDE)
    return max(_SMALLEST_KEPT_SIDE, math.ceil(delivered * 8 / 7))


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
