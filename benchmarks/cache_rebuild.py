"""Building a cache of decoded images, and again after one of its files has changed.

    python benchmarks/cache_rebuild.py --root CIFAR10/train

Small images come from the folder, photographs of 500 x 375 are written; their transform resizes to
224 pixels. One process decodes. Times do not include listing the folder.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import print_machine
from images import write_images
from torchvision.transforms import v2

from sesemi_like.data import Samples, dataset
from sesemi_like.data.cache.plan import plan_cache

RESIZE = v2.Compose([v2.Resize(224), v2.CenterCrop(224), v2.PILToTensor()])


def copy_images(source: Path, root: Path, count: int) -> Path:
    """Copies so many image files, evenly from all class folders."""
    kinds = sorted(path for path in source.iterdir() if path.is_dir())
    for kind in kinds:
        (root / kind.name).mkdir(parents=True)
        for path in sorted(kind.iterdir())[: count // len(kinds)]:
            shutil.copy(path, root / kind.name)
    return root


def build_seconds(root: Path, transform: Callable[[Any], Any] | None, folder: Path) -> float:
    """Finds or builds a cache, the files' fingerprints included."""
    samples = dataset("image_folder", str(root), image_transform=transform)
    assert isinstance(samples, Samples)
    start = time.perf_counter()
    plan = plan_cache(samples, "disk", folder=folder)
    assert plan is not None
    plan.build()
    return time.perf_counter() - start


def measure(root: Path, transform: Callable[[Any], Any] | None, repeats: int) -> list[list[float]]:
    """Seconds of builds from nothing, of finding the cache, and of builds after one change."""
    rows: list[list[float]] = [[], [], []]
    changed = sorted(root.rglob("*.jpg"))[7]
    for number in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            for seconds in rows:
                if seconds is rows[2]:
                    os.utime(changed, (number, number))
                seconds.append(build_seconds(root, transform, Path(folder)))
    return rows


def main() -> None:
    """Measures both kinds of images and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="class folders of small images")
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--photographs", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print_machine(f"{options.repeats} repeats")
    titles = ["images", "from nothing, s", "found, s", "one file changed, s", "ratio"]
    print("| " + " | ".join(titles) + " |\n" + "| --- " * len(titles) + "|")
    with tempfile.TemporaryDirectory() as folder:
        small = copy_images(options.root, Path(folder) / "small", options.count)
        large = write_images(Path(folder) / "large", (500, 375), options.photographs)
        cases = {
            f"{options.count:,} of {options.root.parent.name}": (small, None),
            f"{options.photographs:,} of 500 x 375, kept at 224 x 224": (large, RESIZE),
        }
        for name, (root, transform) in cases.items():
            medians = [statistics.median(row) for row in measure(root, transform, options.repeats)]
            cells = [name, *(f"{m:.2f}" for m in medians), f"{medians[0] / medians[2]:.1f}"]
            print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
