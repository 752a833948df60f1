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
from ..samples import (
    UNLABELED,
    UNREADABLE,
    Sample,
    StreamedSamples,
    check_target,
)
from .decoding import decode
from .image_reader import ImageReader, least_side
from .names import subset_names

INDEX = "index.json"

_IMAGES = ("jpg", "jpeg", "png")
_UNREADABLE_SHARD = (OSError, ValueError, EOFError, tarfile.TarError, zlib.error, HTTPException)
_PATIENCE = 60

log = logging.getLogger(__name__)


class ShardedSamples(StreamedSamples):
    """Samples streamed from shards, each read by one process and worker, but for the outer ones.

    The order of shards in pass k is drawn from ``PCG64((seed, k))`` and the same on every process.
    Their samples, one shard after the other, are cut into a stretch for each process, of equal
    lengths but for one sample, and that into one for each of its workers, of whole batches, equal
    but for one. A worker reads the shards of its stretch, and draws its samples from a buffer that
    it keeps full.

    Args:
        root: A folder or URL.
        shards: The name below it and the number of samples of each shard.
        image_transform: Applied to each PIL image; None makes uint8 tensors (C, H, W).
        classes: The names of the classes.
        buffer: Samples that a worker chooses the next one from, where passes are shuffled.

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

    def stretch(self, worker: int, workers: int) -> range:
        """The places in a pass that a worker of this process reads."""
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
        places = order.permutation(len(self.shards)) if self.shuffle else range(len(self.shards))
        own = self.stretch(worker, workers)
        raw = self._raw([int(place) for place in places], own)
        if self.shuffle:
            draws = np.random.PCG64([self.seed, number, self.rank * workers + worker])
            raw = _mixed(raw, self.buffer, np.random.Generator(draws))
        for _ in range(len(range(worker, skipped, workers)) * self.batch_size):
            next(raw, None)
        for index, sample in raw:
            try:
                yield {
                    **self._drawn(sample, seed_of(self.seed, f"{number}:{index}")),
                    "index": index,
                }
            except UnreadableSampleError as error:
                self._note(error)

    def _raw(self, order: list[int], own: range) -> Iterator[tuple[int, dict[str, Any]]]:
        """The samples at some places of a pass as they lie in the shards, and their positions."""
        for name, first, wanted in self._pieces(order, own):
            try:
                for place, sample in _read_shard(f"{self.root}/{name}", wanted):
                    yield first + place, sample
            except UnreadableSampleError as error:
                self._note(error)

    def _pieces(self, order: list[int], own: range) -> Iterator[tuple[str, int, range]]:
        """The shards at some places of a pass: name, position of its first sample, what of it."""
        firsts = np.cumsum([0, *(count for _, count in self.shards)]).tolist()
        begin = 0
        for shard in order:
            name, count = self.shards[shard]
            wanted = range(max(own.start - begin, 0), min(own.stop - begin, count))
            begin += count
            if wanted:
                yield name, firsts[shard], wanted

    def _drawn(self, raw: dict[str, Any], seed: int) -> Sample:
        """Makes a sample, whose random transforms draw by its seed alone."""
        if self.reader.draws is Draws.NOTHING:
            return self._sample(raw)
        with preserve_generators():
            seed_generators(seed)
            return self._sample(raw)

    def _sample(self, raw: dict[str, Any]) -> Sample:
        extension = next((name for name in _IMAGES if name in raw), None)
        try:
            if extension is None:
                raise ValueError(f"it has no {', '.join(_IMAGES)}")
            sample = self.reader.sample_of(decode(raw[extension], self.least))
            sample["target"] = int(raw.get("cls", UNLABELED))
            check_target(sample, self.num_classes)
        except UNREADABLE as error:
            raise UnreadableSampleError(f"{raw['__url__']}: {raw['__key__']}: {error}") from error
        return sample

    def _note(self, error: UnreadableSampleError) -> None:
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


def _read_shard(url: str, wanted: range) -> Iterator[tuple[int, dict[str, Any]]]:
    """Reads some samples of a shard, with their places in it."""
    from webdataset.tariterators import group_by_keys, tar_file_expander

    last = -1
    try:
        with _opened(url) as stream:
            samples = group_by_keys(tar_file_expander([{"url": url, "stream": stream}]))
            for last, sample in enumerate(islice(samples, wanted.stop)):
                if last in wanted:
                    yield last, sample
    except _UNREADABLE_SHARD as error:
        # What webdataset adds to the arguments of an error are objects that say nothing.
        is_torn = isinstance(error, tarfile.TarError)
        reason = f"it is no whole tar file ({error.args[0]})" if is_torn else error
        raise UnreadableSampleError(f"{url} cannot be read: {reason}") from error
    if last + 1 < wanted.stop:
        raise UnreadableSampleError(f"{url} has {last + 1} samples; {INDEX} says there are more")


def _opened(place: str) -> IO[bytes]:
    if place.startswith(("http://", "https://")):
        return cast(IO[bytes], urlopen(place, timeout=_PATIENCE))
    return Path(place).open("rb")


def _mixed(
    stream: Iterator[Any], size: int, generator: np.random.Generator
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Draws each item from a buffer of the next `size` ones."""
    buffer: list[Any] = []
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
        buffer: Samples that a worker chooses the next one from, where `shuffle` is true.

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
        with _opened(f"{base}/{INDEX}") as file:
            index = json.load(file)
        listed = [(str(shard["name"]), int(shard["samples"])) for shard in index["shards"]]
        return ShardedSamples(base, listed, image_transform, index.get("classes"), buffer)
    except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError) as error:
        expected = (
            f"its {INDEX} cannot be read ({error}); python -m sesemi_like.data.convert writes one"
        )
        raise ConfigError([ConfigProblem("root", base, expected)]) from error
