"""Time and memory as data, batches and images grow.

    python benchmarks/scaling.py

Names of samples are looked up at random in worker processes, from a list and from one array; the
table has what a worker then keeps for itself beyond one that looked up a single name. Each size
runs in a process of its own. A cached data set of 16 x 16 images is built once on disk, then opened
and read in random batches. Resident memory is reported beyond that of the same process before;
beside it the pages of 4 KiB of the file that were touched. Views are timed per image.
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
import torch
from common import in_own_process, print_machine
from torch.utils.data import DataLoader, Dataset

from sesemi_like.data import Samples
from sesemi_like.data.cache.file import cache_key
from sesemi_like.data.cache.folder import CacheFolder
from sesemi_like.data.cache.reader import cached_reader
from sesemi_like.data.loading.loaders import build_loader
from sesemi_like.data.packed_names import PackedNames
from sesemi_like.data.sources.image_reader import ImageReader
from sesemi_like.devices import tune_process
from sesemi_like.views import strong, weak

SIDE, BATCH, READ, PAGE = 16, 256, 50_000, 4096
LOOKED_UP, WORKERS = 200_000, (1, 2, 4)
BATCHES = (16, 64, 256, 1024)
MEMORY = ("MiB resident beyond start", "MiB of the file touched")


def image_at(position: int) -> np.ndarray:
    """An image that encodes its position."""
    return np.full((SIDE, SIDE, 3), position % 251, np.uint8)


def resident_bytes() -> int:
    """Memory of this process that is resident."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def data_case(count: int, folder: Path) -> dict[str, float]:
    """Opens a cache of so many images and reads batches from it."""
    tune_process()
    torch.set_num_threads(1)
    key = cache_key(["images"], map(str, range(count)))
    before, start = resident_bytes(), time.perf_counter()
    cache = CacheFolder(folder).open_or_build(key, image_at)
    files = ImageReader(image_at, None)
    reader = cached_reader(files, cache, np.arange(count), is_transformed=True)
    ids = np.char.mod("%d", np.arange(count)) if count <= 1000 else range(count)
    samples = Samples(reader, ids, np.zeros(count, np.int64))
    loader = build_loader({"shuffle": True}, samples, key="data", batch_size=BATCH, seed=0)
    opened, touched, read = time.perf_counter() - start, set(), 0
    start = time.perf_counter()
    while read < READ:
        for batch in loader:
            read += len(batch["index"])
            touched.update((batch["index"] * SIDE * SIDE * 3 // PAGE).tolist())
            if read >= READ:
                break
    seconds = time.perf_counter() - start
    memory = {"resident": resident_bytes() - before, "touched": len(touched) * PAGE}
    in_mebibytes = {name: value / 2**20 for name, value in memory.items()}
    return {"open": opened, "ms": seconds / read * 1e3, **in_mebibytes}


class Lookup(Dataset[int]):
    """Looks names up, and reports the private memory of its process, in bytes, at the last one."""

    def __init__(self, names: Sequence[str], rows: np.ndarray) -> None:
        self.names, self.rows = names, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> int:
        _ = self.names[int(self.rows[row])]
        is_last = row >= len(self) - BATCH * 16
        return psutil.Process().memory_full_info().uss if is_last and row % BATCH == 0 else 0


def names_case(count: int, workers: int, kind: str) -> dict[str, float]:
    """Reads so many names in worker processes."""
    texts = (f"train/n02086240/ILSVRC2012_{number:012}.JPEG" for number in range(count))
    names = list(texts) if kind == "list" else PackedNames(texts)
    gc.collect()
    rows = np.random.default_rng(0).integers(count, size=LOOKED_UP * workers)

    def largest(rows: np.ndarray) -> int:
        loader = DataLoader(Lookup(names, rows), batch_size=BATCH, num_workers=workers)
        return max(int(batch.max()) for batch in loader)

    start = time.perf_counter()
    found = largest(rows)
    seconds = time.perf_counter() - start
    none = largest(np.zeros(BATCH * 16 * workers, np.int64))
    return {"private": (found - none) / 2**20, "us": seconds / len(rows) * 1e6}


def views_case(batch: int, side: int) -> dict[str, float]:
    """Makes weak and strong views of a batch."""
    tune_process()
    torch.set_num_threads(1)
    images = torch.randint(256, (batch, 3, side, side), dtype=torch.uint8)
    views = [view(mean=0.5, std=0.25) for view in (weak, strong)]
    for _ in range(2):
        [view(images) for view in views]
    rounds, start = max(1, 2000 // batch), time.perf_counter()
    for _ in range(rounds):
        [view(images) for view in views]
    return {"ms": (time.perf_counter() - start) / rounds / batch * 1e3}


def print_names(counts: list[int]) -> None:
    """Prints what names cost each worker process."""
    columns = [f"{kind}, {workers} workers" for kind in ("list", "array") for workers in WORKERS]
    print("| names | " + " | ".join(f"MiB of a worker: {column}" for column in columns) + " |")
    print("| " + " | ".join("---" for _ in range(len(columns) + 1)) + " |")
    for count in counts:
        cells = [
            in_own_process(__file__, "--case", "names", str(count), str(workers), kind)["private"]
            for kind in ("list", "array")
            for workers in WORKERS
        ]
        print(f"| {count:,} | " + " | ".join(f"{cell:.0f}" for cell in cells) + " |", flush=True)
    print()


def main() -> None:
    """Runs every size and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--names", type=int, nargs="*", default=[1_000_000, 10_000_000])
    parser.add_argument("--case", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        kind, *values = options.case
        cases = {
            "data": lambda count, folder: data_case(int(count), Path(folder)),
            "names": lambda count, workers, kind: names_case(int(count), int(workers), kind),
            "views": lambda *sizes: views_case(*map(int, sizes)),
        }
        print(json.dumps(cases[kind](*values)))
        return
    print_machine()
    print_names(options.names)
    folder = tempfile.mkdtemp()
    columns = ("samples", "build, s", "open, s", "read, ms a sample", *MEMORY)
    print("| " + " | ".join(columns) + " |\n| " + " | ".join("---" for _ in columns) + " |")
    for count in options.sizes:
        built = in_own_process(__file__, "--case", "data", str(count), folder)
        found = in_own_process(__file__, "--case", "data", str(count), folder)
        cells = (f"{built['open']:.1f}", f"{found['open']:.2f}", f"{found['ms']:.4f}")
        memory = [f"{found[name]:.0f}" for name in ("resident", "touched")]
        print(f"| {count:,} | " + " | ".join([*cells, *memory]) + " |", flush=True)
    shutil.rmtree(folder)
    print("\n| side | " + " | ".join(f"batch {b}, ms an image" for b in BATCHES) + " |")
    print("| --- | --- | --- | --- | --- |")
    for side in (32, 96, 224):
        found = [
            in_own_process(__file__, "--case", "views", str(batch), str(side)) for batch in BATCHES
        ]
        cells = [f"{figures['ms']:.3f}" for figures in found]
        print(f"| {side} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
