"""Loaders of pretext tasks: made of the batch on the device, or four-fold by the workers.

    python benchmarks/pretext.py

Rotation prediction on images of 224 x 224 that are already decoded, and jigsaw puzzles on
32 x 32. The peers make floats and tasks for each image in a worker process and hand them over;
this package passes on uint8 images and makes the task on the device.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from common import Case, interleave, print_machine, print_table
from PIL import Image
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision import transforms as v1

from sesemi_like.collation import RotationTransformer
from sesemi_like.data import Samples
from sesemi_like.data.loading.loaders import build_loader
from sesemi_like.data.sources.in_memory import array_reader
from sesemi_like.devices import tune_process
from sesemi_like.views import Compose, Jigsaw, Normalize, Rotation, permutation_set

MEAN, STD = 0.5, 0.25


class PerImage(Dataset[Any]):
    """A plain data set: each image becomes a normalized float tensor, or a puzzle of it."""

    def __init__(self, images: np.ndarray, grid: int | None = None) -> None:
        self.images, self.grid = images, grid
        self.to_float = v1.Compose([v1.ToTensor(), v1.Normalize([MEAN] * 3, [STD] * 3)])
        self.permutations = permutation_set(2)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        image = self.to_float(Image.fromarray(self.images[index]))
        if self.grid is None:
            return {"image": image}
        target = int(torch.randint(len(self.permutations), ()))
        side = image.shape[-1] // self.grid
        tiles = [
            image[:, r * side : (r + 1) * side, c * side : (c + 1) * side]
            for r in range(self.grid)
            for c in range(self.grid)
        ]
        tiles = [tiles[int(i)] for i in self.permutations[target]]
        rows = [torch.cat(tiles[r * self.grid : (r + 1) * self.grid], 2) for r in range(self.grid)]
        return {"image": torch.cat(rows, 1), "target": target}


def peer(images: np.ndarray, batch: int, grid: int | None) -> Case:
    """An epoch through one worker process that makes the task itself."""
    collate = RotationTransformer() if grid is None else default_collate

    def epoch() -> None:
        loader = DataLoader(PerImage(images, grid), batch, num_workers=1, collate_fn=collate)
        for _ in loader:
            pass

    return epoch


def ours(images: np.ndarray, batch: int, task: Any, workers: int) -> Case:
    """An epoch of uint8 images whose task is made on the device."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    view = Compose([Normalize(MEAN, STD), task])
    names = [str(number) for number in range(len(images))]
    samples = Samples(array_reader(images, None), names)

    def epoch() -> None:
        config = {"num_workers": workers}
        for fields in build_loader(config, samples, key="images", batch_size=batch, seed=0):
            view(fields["image"].to(device))

    return epoch


def main() -> None:
    """Measures both tasks and prints a table for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    tune_process()
    torch.set_num_threads(1)
    print_machine(f"{options.repeats} interleaved repeats")
    generator = np.random.default_rng(0)
    for title, side, count, batch, grid, task in (
        ("Rotation prediction, 224 x 224, batches of 32", 224, 512, 32, None, Rotation()),
        ("Jigsaw puzzles of 2 x 2, 32 x 32, batches of 448", 32, 8960, 448, 2, Jigsaw(2)),
    ):
        images = generator.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
        first = "per image, in a worker process"
        cases = {
            first: peer(images, batch, grid),
            "sesemi_like, one worker process": ours(images, batch, task, 1),
            "sesemi_like, its default": ours(images, batch, task, 0),
            "of which loading and normalization": ours(
                images, batch, lambda images, generator: images, 0
            ),
        }
        print(f"{title}; per source image:\n")
        times = interleave(cases, options.repeats, count)
        print_table(times, "ms an image", against={"images per CPU-second over the peer": first})


if __name__ == "__main__":
    main()
