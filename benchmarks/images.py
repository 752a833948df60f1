"""Epochs over large JPEG files: this package against ImageFolder with torchvision's transforms.

    python benchmarks/images.py

Images of 500 x 375 (and a few of 3000 x 2250) become random crops of 224 x 224, mirrored and
normalized, in batches of 64. An epoch is everything from the folder to the batch on the device:
decoding, worker processes, stacking, views; for a first epoch also building the cache.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Case, interleave, print_machine, print_table
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.utils.data import DataLoader
from torchvision import transforms as v1
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from sesemi_like.data import Samples, dataset
from sesemi_like.data.cache.plan import cache_samples
from sesemi_like.data.loading.loaders import build_loader
from sesemi_like.devices import tune_process
from sesemi_like.views import Compose, HorizontalFlip, Normalize, RandomResizedCrop

MEAN, STD, SIDE, BATCH = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], 224, 64
FLOOR = "floor: decoding each file once with Pillow"


def write_images(root: Path, size: tuple[int, int], count: int) -> Path:
    """Writes parts of two photographs as JPEG files, in two class folders."""
    generator = np.random.default_rng(0)
    photographs = [Image.fromarray(image) for image in load_sample_images().images]
    for number in range(count):
        left, top = (int(generator.integers(limit)) for limit in (140, 52))
        part = photographs[number % 2].crop((left, top, left + 500, top + 375))
        path = root / "ab"[number % 2] / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        part.resize(size, Image.Resampling.BICUBIC).save(path, quality=90)
    return root


def peer(root: Path, transforms: Any, workers: int) -> Case:
    """An epoch of torchvision's ImageFolder; `transforms` is its v1 or v2."""
    steps = [transforms.RandomResizedCrop(SIDE, scale=(0.35, 1)), transforms.RandomHorizontalFlip()]
    if transforms is v1:
        steps += [v1.ToTensor(), v1.Normalize(MEAN, STD)]
    else:
        steps += [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    images = ImageFolder(str(root), transforms.Compose(steps))

    def epoch() -> None:
        for _ in DataLoader(images, BATCH, shuffle=True, num_workers=workers):
            pass

    return epoch


def ours(root: Path, cache: str, folder: Path, workers: int, *, fresh: bool = False) -> Case:
    """An epoch of this package, with the transform and views of the config `image_folder`."""
    steps = [v2.Resize(SIDE), v2.CenterCrop(SIDE), v2.PILToTensor()]
    crop = RandomResizedCrop(SIDE, scale=(0.35, 1))
    view = Compose([crop, HorizontalFlip(), Normalize(MEAN, STD)])
    device = "cuda" if torch.cuda.is_available() else "cpu"

    def open_samples() -> Samples:
        samples = dataset("image_folder", str(root), image_transform=v2.Compose(steps))
        found = cache_samples(samples, cache, folder=folder, workers=workers)
        assert isinstance(found, Samples)
        return found

    kept = None if fresh else open_samples()

    def epoch() -> None:
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)
        found = kept or open_samples()
        looks_up = getattr(found.read, "take", None) is not None
        config = {"shuffle": True, "num_workers": 0 if looks_up else workers}
        loader = build_loader(config, found, key="images", batch_size=BATCH, seed=0)
        for batch in loader:
            view(batch["image"].to(device, non_blocking=True))

    return epoch


def decode_all(root: Path) -> Case:
    """The floor: every file decoded once in this process, and nothing else."""

    def epoch() -> None:
        for path in root.rglob("*.jpg"):
            with Image.open(path) as image:
                image.convert("RGB")

    return epoch


def main() -> None:
    """Measures all in turn and prints a table for each size of image."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=512)
    parser.add_argument("--large", type=int, default=48, help="images of 3000 x 2250")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    tune_process()
    torch.set_num_threads(1)
    print_machine(f"{options.workers} worker processes, {options.repeats} interleaved repeats")
    for size, count in (((500, 375), options.count), ((3000, 2250), options.large)):
        root, folder = Path(tempfile.mkdtemp()), Path(tempfile.mkdtemp())
        write_images(root, size, count)
        workers = options.workers
        first = "ImageFolder + torchvision v1"
        cases = {
            first: peer(root, v1, workers),
            "ImageFolder + torchvision v2": peer(root, v2, workers),
            FLOOR: decode_all(root),
            "sesemi_like, cache: none": ours(root, "none", folder, workers),
            "sesemi_like, first epoch (cache: disk)": ours(
                root, "disk", folder / "fresh", workers, fresh=True
            ),
            "sesemi_like, first epoch (cache: ram)": ours(
                root, "ram", folder / "ram", workers, fresh=True
            ),
            "sesemi_like, later epochs": ours(root, "disk", folder / "kept", workers),
        }
        print(f"{count} images of {size[0]} x {size[1]}:\n")
        times = interleave(cases, options.repeats, count)
        columns = {"images per CPU-second over v1": first, "over the floor": FLOOR}
        print_table(times, "ms an image", against=columns)
        for path in (root, folder):
            shutil.rmtree(path)


if __name__ == "__main__":
    main()
