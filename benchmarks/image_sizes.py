"""What the size of images costs on a CPU: seconds of a step of the config in docs/own_images.md.

    OMP_NUM_THREADS=1 python benchmarks/image_sizes.py

Every case is a run of the config `custom` of that page with FixMatch, 32 labeled and 64 unlabeled
images a step, of which the first is not counted. Images are parts of two photographs. CPU seconds
are those of all threads; with one thread and an idle core they are what a step takes.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from contextlib import redirect_stdout
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from common import cpu_seconds, figure, print_machine
from images import write_images
from own_images import configs_of_the_page, train

from sesemi_like.config.resolvers import register_resolvers
from sesemi_like.config.store import register_configs

CASES = {
    "small_cnn": (32, 64, 128, 224),
    "resnet18d": (32, 64, 128, 224),
    "wrn_28_2": (32, 64),
}
STEPS = 4


class CpuTimes(pl.Callback):
    """Records the CPU time at the end of each step; the newest one is `last`."""

    last: CpuTimes

    def __init__(self) -> None:
        self.ends: list[float] = []
        CpuTimes.last = self

    def on_train_batch_end(self, *_: Any) -> None:
        """Records the time."""
        self.ends.append(cpu_seconds())


def seconds_a_step(folder: Path, backbone: str, size: int) -> float:
    """The median CPU time of the steps of a run but the first."""
    overrides = [
        f"backbone={backbone}", f"data.image_size={size}", f"run.num_iterations={STEPS}",
        f"run.data_root={folder}", "learner.hparams.num_classes=2", "run.seed=0",
        f"run.cache_dir={folder}/cache", "data.train.unlabeled.dataset.subset=train",
        "+trainer.callbacks=[{_target_: image_sizes.CpuTimes}]",
    ]  # fmt: skip
    with redirect_stdout(StringIO()):
        train(folder / "configs", "custom", folder / f"{backbone}-{size}", overrides)
    ends = CpuTimes.last.ends
    return statistics.median(after - before for before, after in pairwise(ends))


def main() -> None:
    """Measures every case and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", nargs="+", choices=CASES, default=list(CASES))
    backbones = parser.parse_args().backbones
    register_configs()
    register_resolvers()
    sizes = sorted({size for name in backbones for size in CASES[name]})
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        configs_of_the_page(folder / "configs")
        for subset in ("train", "val"):
            write_images(folder / subset, (320, 240), 64)
        rows = {
            name: [
                figure(seconds_a_step(folder, name, size)) if size in CASES[name] else ""
                for size in sizes
            ]
            for name in backbones
        }
    print_machine(f"{STEPS} steps each, the first not counted")
    print("| CPU seconds a step | " + " | ".join(f"{size} pixels" for size in sizes) + " |")
    print("| --- |" + " --- |" * len(sizes))
    for name, cells in rows.items():
        print(f"| `{name}` | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    from image_sizes import main as run_main  # the module that the config's callback comes from

    run_main()
