"""Predictions of 100,000 tiny images: memory while they are written, and a run that is killed.

    python benchmarks/predict.py --folder /tmp/tiny

The images are drawn once. A run predicts all of them, and the resident memory of its first process
is read several times a second; another one is killed half-way and started again, and what the two
have written is compared byte by byte.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
from common import print_machine
from PIL import Image

SIDE = 8
PER_FOLDER = 1000


def draw_images(folder: Path, count: int) -> None:
    """Writes images of random pixels, unless they are there."""
    generator = np.random.default_rng(0)
    for start in range(0, count, PER_FOLDER):
        part = folder / f"{start:08}"
        if part.exists():
            continue
        unfinished = folder / f".{start:08}"
        unfinished.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (PER_FOLDER, SIDE, SIDE, 3), dtype=np.uint8)
        for number in range(min(PER_FOLDER, count - start)):
            Image.fromarray(pixels[number]).save(unfinished / f"{number:04}.png")
        unfinished.rename(part)


def command(images: Path, runs: Path, form: str) -> list[str]:
    """The command that predicts them with random weights of one seed."""
    return [
        sys.executable, "-m", "sesemi_like", "-cn", "quickstart", "run.mode=PREDICT",
        f"run.dir={runs}", f"run.data_root={images}", "run.gpus=0", "run.seed=0",
        "learner.hparams.model.backbone.in_chans=3", "++data.predict.dataset.name=image_files",
        "++data.predict.batch_size_per_gpu=256", "++data.predict.dataset.cache=none",
        f"run.predict.format={form}",
    ]  # fmt: skip


def memory_of(arguments: list[str]) -> Iterator[tuple[float, float]]:
    """Runs a command; yields (seconds, MiB resident) of its first process until it ends."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    started = time.monotonic()
    try:
        while process.poll() is None:
            try:
                resident = psutil.Process(process.pid).memory_info().rss
                yield time.monotonic() - started, resident / 2**20
            except psutil.NoSuchProcess:
                break
            time.sleep(0.25)
    finally:
        process.wait()
    assert process.returncode == 0, f"ended with {process.returncode}"


def parts_in(runs: Path) -> int:
    """The parts that a run has written so far."""
    return len(list(runs.glob("*/.predictions-*/part-*")))


def run_killed(arguments: list[str], runs: Path, after: int) -> int:
    """Runs a command and kills it, its workers included, once it has written some parts."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, start_new_session=True)
    while parts_in(runs) < after:
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return parts_in(runs)


def digest(runs: Path) -> str:
    """A checksum of the only predictions below a folder."""
    (written,) = runs.glob("*/*/predictions*")
    files = sorted(written.iterdir()) if written.is_dir() else [written]
    whole = hashlib.sha256()
    for file in files:
        whole.update(file.read_bytes())
    return whole.hexdigest()


def main() -> None:
    """Predicts, kills, predicts again, and prints what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="where images and runs go")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--format", choices=("csv", "parquet", "npy"), default="csv")
    options = parser.parse_args()
    images, runs = options.folder / f"images-{options.count}", options.folder / "runs"
    draw_images(images, options.count)
    stamp = f"{options.format}-{int(time.time())}"
    whole, killed = runs / f"{stamp}-whole", runs / f"{stamp}-killed"
    print_machine(f"{options.count:,} images of {SIDE}x{SIDE}, {options.format}")
    seen = []
    for seconds, resident in memory_of(command(images, whole, options.format)):
        seen.append((seconds, resident, parts_in(whole)))
    writing = [(seconds, resident) for seconds, resident, parts in seen if parts]
    quarter, last = writing[len(writing) // 4], writing[-1]
    print(f"- whole run: {seen[-1][0]:.0f} s, writing began after {writing[0][0]:.0f} s")
    print(
        f"- MiB resident: {writing[0][1]:.0f} at the first part, {quarter[1]:.0f} after a quarter, "
        f"{last[1]:.0f} at the end, {max(r for _, r in writing):.0f} at most"
    )
    arguments = command(images, killed, options.format)
    parts = run_killed(arguments, killed, after=max(1, options.count // 4096 // 2))
    again = [seconds for seconds, _ in memory_of(arguments)]
    print(f"- killed after {parts} parts; the rest took {again[-1]:.0f} s")
    same = digest(whole) == digest(killed)
    print(f"- the same bytes: {'yes' if same else 'NO'}")
    assert same


if __name__ == "__main__":
    main()
