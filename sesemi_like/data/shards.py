"""Data sets in tar shards (WebDataset's format), for data that outgrow a disk or a file system.

    python -m sesemi_like.data.shards --name image_folder --root data/pictures --out data/shards

writes `<out>/00000.tar`, ... and `<out>/index.json`, which a loader reads from a folder or a URL:

    dataset: {name: shards, root: https://example.org/shards}

A sample is a picture (`<key>.jpg` or `.png`) and, where it has a label, its class (`<key>.cls`).
"""

from __future__ import annotations

import argparse
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
from torch.utils.data import get_worker_info

from ..errors import ConfigError, ConfigProblem, UnreadableSampleError, near
from ..files import write_atomically
from .decoding import decode, shrink
from .files import PictureFiles
from .registry import dataset, register_dataset
from .samples import (
    UNLABELLED,
    UNREADABLE,
    ImageReader,
    Sample,
    Samples,
    StreamedSamples,
    least_side,
)

INDEX = "index.json"
_PICTURES = ("jpg", "png")
_QUALITY = 95


class ShardedSamples(StreamedSamples):
    """Samples streamed from shards, split over processes and workers by shard.

    The order of pass k is drawn from ``PCG64((seed, k))`` and the same on every process: shards are
    dealt out in it, and each worker draws its samples from a buffer that it keeps full. Where there
    are fewer shards than workers, every worker reads all of them and keeps each so-and-so-many-th
    sample.

    Args:
        root: A folder or URL.
        shards: Names of the shards below it.
        num_samples: Samples in all.
        image_transform: Applied to each PIL image; None makes uint8 tensors (C, H, W).
        classes: The names of the classes.
        buffer: Samples that a worker chooses the next one from, where passes are shuffled.
    """

    def __init__(
        self,
        root: str,
        shards: Sequence[str],
        num_samples: int,
        image_transform: Callable[[Any], Any] | None = None,
        classes: list[str] | None = None,
        buffer: int = 1000,
    ) -> None:
        super().__init__(self)
        self.root, self.shards, self.num_samples = root, list(shards), num_samples
        self.reader = ImageReader(_no_position, image_transform)
        self.least = least_side(image_transform)
        self.classes, self.buffer = classes, buffer
        self.shuffle, self.seed, self.next_pass = False, 0, 0
        self.batch_size, self.skipped_batches = 1, 0

    def set_pass(self, number: int, skipped_batches: int = 0) -> None:
        """Goes on with a pass, without the batches of it that were read before."""
        self.next_pass, self.skipped_batches = number, skipped_batches

    def __iter__(self) -> Iterator[Sample]:
        number, self.next_pass = self.next_pass, self.next_pass + 1
        skipped, self.skipped_batches = self.skipped_batches, 0
        info = get_worker_info()
        workers, worker = (info.num_workers, info.id) if info else (1, 0)
        # A loader takes batches from its workers in turn, beginning with the first one.
        worker = (worker + skipped) % workers
        order = np.random.Generator(np.random.PCG64([self.seed, number]))
        shards = [str(s) for s in (order.permutation(self.shards) if self.shuffle else self.shards)]
        own, every = self.rank * workers + worker, self.world_size * workers
        raw = self._raw(shards, own, every)
        if self.shuffle:
            raw = _mixed(
                raw, self.buffer, np.random.Generator(np.random.PCG64([self.seed, number, own]))
            )
        for _ in range(len(range(worker, skipped, workers)) * self.batch_size):
            next(raw, None)
        yield from map(self._sample, raw)

    def _raw(self, shards: list[str], own: int, every: int) -> Iterator[dict[str, Any]]:
        from webdataset.tariterators import tarfile_samples

        by_shard = len(shards) >= every
        urls = [f"{self.root}/{name}" for name in (shards[own::every] if by_shard else shards)]
        for position, raw in enumerate(tarfile_samples({"url": url} for url in urls)):
            if by_shard or position % every == own:
                yield raw

    def _sample(self, raw: dict[str, Any]) -> Sample:
        extension = next((name for name in _PICTURES if name in raw), None)
        try:
            if extension is None:
                raise ValueError(f"it has no {' or '.join(_PICTURES)}")
            sample = self.reader.made(decode(raw[extension], self.least))
        except UNREADABLE as error:
            raise UnreadableSampleError(f"{raw['__url__']}: {raw['__key__']}: {error}") from error
        sample["target"] = int(raw.get("cls", UNLABELLED))
        sample["index"] = int(raw["__key__"])
        return sample


def _no_position(position: int) -> Any:
    raise TypeError("shards are read in order")


def _mixed(
    stream: Iterator[Any], size: int, generator: np.random.Generator
) -> Iterator[dict[str, Any]]:
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
    """Pictures in tar shards, from a folder or over HTTP; see :mod:`sesemi_like.data.shards`.

    Args:
        root: The folder or URL that holds `index.json`.
        subset: A folder of shards below it; None reads `root` itself.
        image_transform: Applied to each picture.
        buffer: Samples that a worker chooses the next one from, where `shuffle` is true.

    Raises:
        ConfigError: If there is no index, or it is none.
    """
    if isinstance(subset, list):
        raise ConfigError([ConfigProblem("subset", subset, "shards are read from one folder")])
    base = root.rstrip("/") + (f"/{subset}" if subset else "")
    try:
        index = json.loads(_read(f"{base}/{INDEX}"))
        names = [shard["name"] for shard in index["shards"]]
        count = sum(shard["samples"] for shard in index["shards"])
    except (OSError, URLError, ValueError, KeyError, TypeError) as error:
        expected = (
            f"its {INDEX} cannot be read ({error}); python -m sesemi_like.data.shards writes one"
        )
        raise ConfigError([ConfigProblem("root", base, expected)]) from error
    return ShardedSamples(base, names, count, image_transform, index.get("classes"), buffer)


def _read(place: str) -> bytes:
    if place.startswith(("http://", "https://")):
        with urlopen(place, timeout=60) as answer:
            content: bytes = answer.read()
            return content
    return Path(place).read_bytes()


def write_shards(
    samples: Samples, folder: Path, *, samples_per_shard: int = 1000, side: int | None = None
) -> Path:
    """Writes a data set as shards; the index comes last, so that no half of it looks whole.

    Picture files are taken over byte by byte, unless they are to be made smaller; other pictures
    are written as PNG, which loses nothing. Samples are spread over the shards at random, so that
    each shard has something of every class.

    Args:
        samples: A data set of pictures, read without an `image_transform`.
        folder: Where to; made if need be.
        samples_per_shard: Samples of a shard.
        side: Larger pictures are resized to this shorter side and written as JPEG.

    Returns:
        The index.

    Raises:
        UnreadableSampleError: A picture cannot be read, and its data set does not skip such.
    """
    from webdataset import TarWriter

    folder.mkdir(parents=True, exist_ok=True)
    (folder / INDEX).unlink(missing_ok=True)
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(samples))
    listed = []
    for number in range(math.ceil(len(order) / samples_per_shard)):
        rows = order[number * samples_per_shard : (number + 1) * samples_per_shard]
        name = f"{number:05}.tar"
        with TarWriter(str(folder / name)) as tar:
            written = sum(_write(tar, samples, int(row), side) for row in rows)
        listed.append({"name": name, "samples": written})
    index = {"shards": listed, "classes": samples.classes}
    write_atomically(folder / INDEX, json.dumps(index, indent=1) + "\n")
    return folder / INDEX


def _write(tar: Any, samples: Samples, row: int, side: int | None) -> int:
    position = int(samples.positions[row])
    try:
        extension, content = _encoded(samples, position, side)
    except UNREADABLE as error:
        if samples.on_error == "skip":
            return 0
        raise UnreadableSampleError(f"{samples.ids[position]} cannot be read: {error}") from error
    fields = {"__key__": f"{position:09}", extension: content}
    target = UNLABELLED if samples.targets is None else int(samples.targets[row])
    if target != UNLABELLED:
        fields["cls"] = str(target).encode()
    tar.write(fields)
    return 1


def _encoded(samples: Samples, position: int, side: int | None) -> tuple[str, bytes]:
    from PIL import Image

    load = samples.read.load if isinstance(samples.read, ImageReader) else None
    if isinstance(load, PictureFiles) and side is None:
        content = Path(load.files[position]).read_bytes()
        decode(content)  # tells now what cannot be read
        kind = {b"\xff\xd8": "jpg", b"\x89P": "png"}.get(content[:2])
        if kind:
            return kind, content
    image = samples.read(position)["image"]
    pixels = image.permute(1, 2, 0).numpy()
    small = pixels if side is None else shrink(pixels, side)
    file = io.BytesIO()
    picture = Image.fromarray(small[..., 0] if small.shape[2] == 1 else small)
    picture.save(file, "PNG" if side is None else "JPEG", quality=_QUALITY)
    return ("png" if side is None else "jpg"), file.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    """Converts a data set of any registered kind."""
    parser = argparse.ArgumentParser(prog="python -m sesemi_like.data.shards")
    parser.add_argument("--name", required=True, help="kind of data set, such as image_folder")
    parser.add_argument("--root", required=True)
    parser.add_argument("--subset", nargs="*")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples-per-shard", type=int, default=1000)
    parser.add_argument("--side", type=int, help="bound of the shorter side in pixels")
    parser.add_argument("--skip-unreadable", action="store_true")
    given = parser.parse_args(arguments)
    on_error = "skip" if given.skip_unreadable else "raise"
    try:
        samples = dataset(given.name, given.root, given.subset or None, on_error=on_error)
        if not isinstance(samples, Samples):
            known = near(given.name, ["image_folder", "image_files", "csv"], noun="kinds")
            expected = f"a streamed data set cannot be converted; {known}"
            raise ConfigError([ConfigProblem("--name", given.name, expected)])
        index = write_shards(
            samples, given.out, samples_per_shard=given.samples_per_shard, side=given.side
        )
    except (ConfigError, UnreadableSampleError) as error:
        raise SystemExit(str(error)) from error
    written = json.loads(index.read_text())["shards"]
    print(f"{sum(s['samples'] for s in written):,} samples in {len(written)} shards: {index}")


if __name__ == "__main__":
    main()
