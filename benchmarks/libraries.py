"""What libraries are worth alone: WebDataset against tarfile, simplejpeg against Pillow.

    python benchmarks/libraries.py --root CIFAR10/train

Shards are read sample by sample, without decoding them: JPEG files of CIFAR-10, and photographs of
500 x 375. Photographs and CIFAR's images are decoded to RGB, the larger ones to a shorter side of
448 pixels at least, as for a transform that resizes them to 224. One core.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from cache_rebuild import copy_images
from common import Case, interleave, print_machine, print_table
from images import write_images

from sesemi_like.data import Samples, dataset
from sesemi_like.data.convert import write_shards
from sesemi_like.data.sources.decoding import decode_with_pillow, decode_with_simplejpeg
from sesemi_like.data.sources.tar import read_samples

LEAST = 448


def read_with_webdataset(path: Path) -> Iterator[Any]:
    """Reads the samples of a shard with the library WebDataset."""
    from webdataset.tariterators import group_by_keys, tar_file_expander

    with path.open("rb") as stream:
        yield from group_by_keys(tar_file_expander([{"url": str(path), "stream": stream}]))


def read_with_tarfile(path: Path) -> Iterator[Any]:
    """Reads the samples of a shard as this package does."""
    with path.open("rb") as stream:
        yield from read_samples(stream)


def reading_case(shards: list[Path], read: Callable[[Path], Iterator[Any]]) -> Case:
    """Reads all samples of shards."""
    return lambda: [sum(1 for _ in read(path)) for path in shards]


def decoding_case(
    contents: list[bytes], decode: Callable[[bytes, int | None], Any], least: int | None
) -> Case:
    """Decodes all images of a list."""
    return lambda: [decode(content, least).shape for content in contents]


def measure_shards(roots: dict[str, Path], repeats: int) -> None:
    """Prints how long a sample of a shard takes to be read."""
    for name, root in roots.items():
        samples = dataset("image_folder", str(root))
        assert isinstance(samples, Samples)
        with tempfile.TemporaryDirectory() as folder:
            write_shards(samples, Path(folder))
            shards = sorted(Path(folder).glob("*.tar"))
            readers = {"WebDataset": read_with_webdataset, "tarfile": read_with_tarfile}
            cases = {name: reading_case(shards, read) for name, read in readers.items()}
            times = interleave(cases, repeats, len(samples))
        print(f"Shards of {len(samples):,} files, {name}:\n")
        print_table(times, "us a sample", scale=1e6, against={"over WebDataset": "WebDataset"})


def measure_decoding(roots: dict[str, Path], repeats: int) -> None:
    """Prints how long an image takes to be decoded."""
    for name, root in roots.items():
        contents = [path.read_bytes() for path in sorted(root.rglob("*.jpg"))]
        for least in (None,) if name.startswith("CIFAR") else (None, LEAST):
            cases = {
                "Pillow": decoding_case(contents, decode_with_pillow, least),
                "simplejpeg": decoding_case(contents, decode_with_simplejpeg, least),
            }
            times = interleave(cases, repeats, len(contents))
            scale = "all pixels" if least is None else f"a shorter side of {least} is enough"
            print(f"{len(contents):,} files, {name}, {scale}:\n")
            print_table(times, "ms an image", against={"over Pillow": "Pillow"})


def main() -> None:
    """Measures reading and decoding in turn and prints a table for each kind of file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="class folders of CIFAR-10")
    parser.add_argument("--small", type=int, default=2000)
    parser.add_argument("--photographs", type=int, default=200)
    parser.add_argument("--large", type=int, default=8, help="images of 3000 x 2250")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print_machine(f"{options.repeats} interleaved repeats")
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        roots = {
            "CIFAR-10": copy_images(options.root, top / "small", options.small),
            "500 x 375": write_images(top / "photographs", (500, 375), options.photographs),
            "3000 x 2250": write_images(top / "large", (3000, 2250), options.large),
        }
        measure_shards(roots, options.repeats)
        measure_decoding(roots, options.repeats)


if __name__ == "__main__":
    main()
