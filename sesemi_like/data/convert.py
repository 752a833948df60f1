"""Writes a data set of any kind as tar shards, which :mod:`sesemi_like.data.sources.shards` reads.

python -m sesemi_like.data.convert --name image_folder --root data/images --out data/shards
"""

from __future__ import annotations

import argparse
import io
import json
import math
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import ConfigError, ConfigProblem, UnreadableSampleError, suggest
from ..files import write_atomically
from . import dataset
from .samples import UNLABELED, UNREADABLE, Samples
from .sources.decoding import decode, shrink
from .sources.image_files import image_files_of
from .sources.shards import INDEX
from .sources.tar import write_sample

_QUALITY = 95


def write_shards(
    samples: Samples, folder: Path, *, samples_per_shard: int = 1000, side: int | None = None
) -> Path:
    """Writes a data set as shards; the index comes last, so that no half of it looks whole.

    Image files are copied byte by byte, unless they are resized; other images are written as PNG,
    without loss. Samples are distributed over the shards at random, so that each shard has samples
    of every class.

    Args:
        samples: A data set of images, read without an `image_transform`.
        folder: The output folder, which is created.
        samples_per_shard: Samples of a shard.
        side: Larger images are resized to this shorter side and written as JPEG.

    Returns:
        The index.

    Raises:
        ValueError: `samples_per_shard` or `side` is less than 1.
        UnreadableSampleError: An image cannot be read, and its data set does not skip such.
        OSError: The folder cannot be written.
    """
    if samples_per_shard < 1 or (side is not None and side < 1):
        raise ValueError("samples_per_shard and side must be 1 or more")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / INDEX).unlink(missing_ok=True)
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(samples))
    listed = []
    for number in range(math.ceil(len(order) / samples_per_shard)):
        rows = order[number * samples_per_shard : (number + 1) * samples_per_shard]
        name = f"{number:05}.tar"
        with tarfile.open(folder / name, "w", format=tarfile.USTAR_FORMAT) as tar:
            written = sum(_write_row(tar, samples, int(row), side) for row in rows)
        listed.append({"name": name, "samples": written})
    index = {"shards": listed, "classes": samples.classes}
    write_atomically(folder / INDEX, json.dumps(index, indent=1) + "\n")
    return folder / INDEX


def _write_row(tar: tarfile.TarFile, samples: Samples, row: int, side: int | None) -> int:
    position = int(samples.positions[row])
    try:
        extension, content = _encode(samples, position, side)
    except UNREADABLE as error:
        if samples.on_error == "skip":
            return 0
        raise UnreadableSampleError(f"{samples.ids[position]} cannot be read: {error}") from error
    fields = {extension: content}
    target = UNLABELED if samples.targets is None else int(samples.targets[row])
    if target != UNLABELED:
        fields["cls"] = str(target).encode()
    write_sample(tar, f"{position:09}", fields)
    return 1


def _encode(samples: Samples, position: int, side: int | None) -> tuple[str, bytes]:
    from PIL import Image

    files = image_files_of(samples)
    if files is not None and side is None:
        content = Path(files.files[position]).read_bytes()
        decode(content)  # raises for what cannot be read
        kind = {b"\xff\xd8": "jpg", b"\x89P": "png"}.get(content[:2])
        if kind:
            return kind, content
    image = samples.read(position)["image"]
    pixels = image.permute(1, 2, 0).numpy()
    small = pixels if side is None else shrink(pixels, side)
    file = io.BytesIO()
    resized = Image.fromarray(small[..., 0] if small.shape[2] == 1 else small)
    resized.save(file, "PNG" if side is None else "JPEG", quality=_QUALITY)
    return ("png" if side is None else "jpg"), file.getvalue()


def _positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> None:
    """Converts a data set of any registered kind."""
    parser = argparse.ArgumentParser(prog="python -m sesemi_like.data.convert")
    parser.add_argument("--name", required=True, help="kind of data set, such as image_folder")
    parser.add_argument("--root", required=True)
    parser.add_argument("--subset", nargs="*")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples-per-shard", type=_positive, default=1000)
    parser.add_argument("--side", type=_positive, help="bound of the shorter side in pixels")
    parser.add_argument("--skip-unreadable", action="store_true")
    given = parser.parse_args(arguments)
    on_error = "skip" if given.skip_unreadable else "raise"
    try:
        samples = dataset(given.name, given.root, given.subset or None, on_error=on_error)
        if not isinstance(samples, Samples):
            known = suggest(given.name, ["image_folder", "image_files", "csv"], noun="kinds")
            expected = f"a streamed data set cannot be converted; {known}"
            raise ConfigError([ConfigProblem("--name", given.name, expected)])
        index = write_shards(
            samples, given.out, samples_per_shard=given.samples_per_shard, side=given.side
        )
    except UnreadableSampleError as error:
        raise SystemExit(f"{error}; --skip-unreadable goes on without such images") from error
    except ConfigError as error:
        raise SystemExit(str(error)) from error
    except OSError as error:
        raise SystemExit(f"--out: {given.out} cannot be written: {error}") from error
    written = json.loads(index.read_text())["shards"]
    print(f"{sum(s['samples'] for s in written):,} samples in {len(written)} shards: {index}")


if __name__ == "__main__":
    main()
