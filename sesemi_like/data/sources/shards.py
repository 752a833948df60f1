"""Data sets in tar shards (WebDataset's format), for data that outgrow a disk or a file system.

:mod:`sesemi_like.data.convert` writes `<folder>/00000.tar`, ... and `<folder>/index.json`, which a
loader reads from a folder or a URL:

    dataset: {name: shards, root: https://example.org/shards}

A sample is an image (`<key>.jpg`, `.jpeg` or `.png`) and, where it has a label, its class
(`<key>.cls`).
"""

from __future__ import annotations

import json
import logging
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast
from urllib.request import urlopen

import numpy as np
import torch
from torch.utils.data import get_worker_info

from ...errors import ConfigError, ConfigProblem, UnreadableSampleError
from ..loading.seeds import preserve_generators, seed_generators, seed_of
from ..readers import Draws
from ..registry import register_dataset
from ..samples import UNLABELED, UNREADABLE, Sample, check_target
from ..streams import StreamedSamples
from .decoding import decode
from .image_reader import ImageReader, least_side
from .name_matching import subset_names
from .tar import Fields, read_samples

INDEX = "index.json"

_IMAGES = ("jpg", "jpeg", "png")
_UNREADABLE_SHARD = (OSError, ValueError, EOFError, tarfile.TarError, zlib.error, HTTPException)
_TIMEOUT_SECONDS = 60

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _StoredSample:
    """A sample as it is stored: its position in the data set, its name, and its fields."""

    position: int
    name: str
    fields: Fields


class ShardedSamples(StreamedSamples):
    """Samples streamed from shards; only shards at a boundary are read by more than one worker.

    The order of shards in pass k is drawn from ``PCG64((seed, k))`` and the same on every process.
    Their samples, concatenated, are divided into one contiguous part for each process, of lengths
    that differ by one sample at most, and that into one for each of its workers, of whole batches.
    A worker reads the shards of its part, and shuffles its samples in a buffer.

    Args:
        root: A folder or URL.
        shards: The name below it and the number of samples of each shard.
        image_transform: Applied to each PIL image; None makes uint8 tensors (C, H, W).
        classes: The names of the classes.
        buffer: Samples in each worker's shuffle buffer.

    Attributes:
        shuffle: Whether each pass has an order of its own.
        seed: Seeds the orders.
        batch_size: Rows of a batch.
        drop_last: Whether an incomplete batch is left out.
        on_error: ``skip`` logs images and shards that cannot be read, and goes on with the next
            one; ``raise`` ends there.
    """

    can_skip = True

    def __init__(
        self,
        root: str,
        shards: Sequence[tuple[str, int]],
        image_transform: Callable[[Any], Any] | None = None,
        classes: list[str] | None = None,
        buffer: int = 1000,
    ) -> None:
        super().__init__(shards)
        self.root, self.shards = root, list(shards)
        self.reader = ImageReader(_no_position, image_transform)
        self.least = least_side(image_transform)
        self.classes, self.buffer = classes, buffer
        self.shuffle, self.seed, self.batch_size, self.drop_last = False, 0, 1, False
        self._pass = torch.zeros(2, dtype=torch.int64).share_memory_()

    @property
    def num_samples(self) -> int:
        """Samples in all."""
        return sum(count for _, count in self.shards)

    @property
    def pass_length(self) -> int:
        """Batches of a pass that every process has; the first ones may have one more."""
        return self.num_batches(self.world_size - 1)

    def for_process(
        self,
        rank: int,
        world_size: int,
        *,
        batch_size: int = 1,
        drop_last: bool = False,
        shuffle: bool = False,
        seed: int = 0,
    ) -> ShardedSamples:
        """The same data set for one process of several, with a pass of its own."""
        own = cast(ShardedSamples, super().for_process(rank, world_size))
        own.batch_size, own.drop_last, own.shuffle, own.seed = batch_size, drop_last, shuffle, seed
        own._pass = torch.zeros(2, dtype=torch.int64).share_memory_()
        return own

    def set_pass(self, number: int, skipped_batches: int = 0) -> None:
        """Says which pass comes next, in this process and its workers."""
        # In shared memory, because workers that persist never see this object again.
        self._pass[0], self._pass[1] = number, skipped_batches

    def part_of(self, worker: int, workers: int) -> range:
        """The ranks in a pass of the samples that a worker of this process reads."""
        of_process = _part(range(self.num_samples), self.rank, self.world_size)
        batches = _part(range(self.num_batches(self.rank)), worker, workers)
        return of_process[batches.start * self.batch_size : batches.stop * self.batch_size]

    def num_batches(self, rank: int) -> int:
        """Batches of a pass of a process, however many workers it has."""
        rows = len(_part(range(self.num_samples), rank, self.world_size))
        return rows // self.batch_size if self.drop_last else -(-rows // self.batch_size)

    def __iter__(self) -> Iterator[Sample]:
        number, skipped = self._pass.tolist()
        info = get_worker_info()
        workers, worker = (info.num_workers, info.id) if info else (1, 0)
        # A loader takes batches from its workers in turn, beginning with the first one.
        worker = (worker + skipped) % workers
        order = np.random.Generator(np.random.PCG64([self.seed, number]))
        shards = order.permutation(len(self.shards)) if self.shuffle else range(len(self.shards))
        own = self.part_of(worker, workers)
        stored = self._read_stored([int(shard) for shard in shards], own)
        if self.shuffle:
            draws = np.random.PCG64([self.seed, number, self.rank * workers + worker])
            stored = _shuffle(stored, self.buffer, np.random.Generator(draws))
        for _ in range(len(range(worker, skipped, workers)) * self.batch_size):
            next(stored, None)
        for sample in stored:
            try:
                yield self._make_seeded(sample, seed_of(self.seed, f"{number}:{sample.position}"))
            except UnreadableSampleError as error:
                self._report(error)

    def _read_stored(self, order: list[int], own: range) -> Iterator[_StoredSample]:
        """Reads the samples of a part of a pass."""
        for name, first, wanted in self._pieces(order, own):
            try:
                yield from _read_shard(f"{self.root}/{name}", first, wanted)
            except UnreadableSampleError as error:
                self._report(error)

    def _pieces(self, order: list[int], own: range) -> Iterator[tuple[str, int, range]]:
        """The shards of a part of a pass: name, position of its first sample, rows of it."""
        firsts = np.cumsum([0, *(count for _, count in self.shards)]).tolist()
        begin = 0
        for shard in order:
            name, count = self.shards[shard]
            wanted = range(max(own.start - begin, 0), min(own.stop - begin, count))
            begin += count
            if wanted:
                yield name, firsts[shard], wanted

    def _make_seeded(self, stored: _StoredSample, seed: int) -> Sample:
        """Makes a sample, whose random transforms depend on its seed alone."""
        if self.reader.draws is Draws.NOTHING:
            return self._make(stored)
        with preserve_generators():
            seed_generators(seed)
            return self._make(stored)

    def _make(self, stored: _StoredSample) -> Sample:
        fields = stored.fields
        extension = next((name for name in _IMAGES if name in fields), None)
        try:
            if extension is None:
                raise ValueError(f"it has no {', '.join(_IMAGES)}")
            sample = self.reader.sample_of(decode(fields[extension], self.least))
            sample["target"] = int(fields.get("cls", UNLABELED))
            check_target(sample, self.num_classes)
        except UNREADABLE as error:
            raise UnreadableSampleError(f"{stored.name}: {error}") from error
        return {**sample, "index": stored.position}

    def _report(self, error: UnreadableSampleError) -> None:
        if self.on_error == "raise":
            raise error
        log.warning("skipped: %s", error)


def _part(whole: range, number: int, parts: int) -> range:
    """One of several parts of a range, of which the first ones may be longer by one."""
    each, more = divmod(len(whole), parts)
    start = number * each + min(number, more)
    return whole[start : start + each + (number < more)]


def _no_position(position: int) -> Any:
    raise TypeError("shards are read in order")


def _read_shard(url: str, first: int, wanted: range) -> Iterator[_StoredSample]:
    """Reads some samples of a shard, the first of which has this position in the data set."""
    last = -1
    try:
        with _open_url(url) as stream:
            for last, (key, fields) in enumerate(islice(read_samples(stream), wanted.stop)):
                if last in wanted:
                    yield _StoredSample(first + last, f"{url}: {key}", fields)
    except _UNREADABLE_SHARD as error:
        is_torn = isinstance(error, tarfile.TarError)
        reason = f"it is no whole tar file ({error})" if is_torn else error
        raise UnreadableSampleError(f"{url} cannot be read: {reason}") from error
    if last + 1 < wanted.stop:
        raise UnreadableSampleError(f"{url} has {last + 1} samples; {INDEX} says there are more")


def _open_url(url: str) -> IO[bytes]:
    if url.startswith(("http://", "https://")):
        return cast(IO[bytes], urlopen(url, timeout=_TIMEOUT_SECONDS))
    return Path(url).open("rb")


def _shuffle(
    stream: Iterator[_StoredSample], size: int, generator: np.random.Generator
) -> Iterator[_StoredSample]:
    """Draws each sample from a buffer of the next `size` ones."""
    buffer: list[_StoredSample] = []
    for item in stream:
        if len(buffer) < size:
            buffer.append(item)
            continue
        place = int(generator.integers(size))
        yield buffer[place]
        buffer[place] = item
    yield from (buffer[place] for place in generator.permutation(len(buffer)))


@register_dataset
def shards(
    root: str,
    subset: str | list[str] | None = None,
    image_transform: Callable[[Any], Any] | None = None,
    buffer: int = 1000,
) -> ShardedSamples:
    """Images in tar shards, from a folder or over HTTP: see the top of this module.

    Args:
        root: The folder or URL that holds `index.json`.
        subset: A folder of shards below it; None reads `root` itself.
        image_transform: Applied to each image.
        buffer: Samples in each worker's shuffle buffer.

    Raises:
        ConfigError: If there is no index, or it is none, or the buffer is empty.
    """
    names = subset_names(subset) or []
    if len(names) > 1:
        raise ConfigError([ConfigProblem("subset", subset, "shards are read from one folder")])
    if not isinstance(buffer, int) or buffer < 1:
        raise ConfigError([ConfigProblem("buffer", buffer, "a number of samples, 1 or more")])
    base = "/".join([root.rstrip("/"), *filter(None, names)])
    try:
        with _open_url(f"{base}/{INDEX}") as file:
            index = json.load(file)
        listed = [(str(shard["name"]), int(shard["samples"])) for shard in index["shards"]]
        return ShardedSamples(base, listed, image_transform, index.get("classes"), buffer)
    except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError) as error:
        expected = (
            f"its {INDEX} cannot be read ({error}); python -m sesemi_like.data.convert writes one"
        )
        raise ConfigError([ConfigProblem("root", base, expected)]) from error
