"""Validation of WRN-28-2 on 32x32 images: this package against semilearn.

    python benchmarks/validation.py --root CIFAR10/train

Both evaluate the same images, loading included. semilearn evaluates the EMA teacher; this package
evaluates the network and its teacher, two forwards, and here, in a last row, the network alone.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import tempfile
import time
import warnings
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from common import Times, cpu_seconds, print_machine, print_table
from fixmatch_cases import Job, compose_config, extra_callback, read_job
from peers import fixmatch, without_cuda

from sesemi_like.devices import tune_process
from sesemi_like.run.execute import run


class ValidationTime(pl.Callback):
    """Records how long validation takes, in wall and CPU seconds."""

    def on_validation_start(self, *_: Any) -> None:
        """Starts the clocks."""
        self.began = time.perf_counter(), cpu_seconds()

    def on_validation_end(self, *_: Any) -> None:
        """Stops them."""
        self.took = time.perf_counter() - self.began[0], cpu_seconds() - self.began[1]


def ours(job: Job, precision: str, *overrides: str) -> tuple[float, float]:
    """Validates the config `cifar10` on the images."""
    folder, clock = tempfile.mkdtemp(), ValidationTime()
    config = compose_config(
        "cifar10", "run.mode=VALIDATE", f"run.dir={folder}", f"run.precision={precision}",
        "data.train=null", "data.test=null", f"run.data_root={job.root.absolute()}", *overrides,
    )  # fmt: skip
    config.data.val.dataset = {"name": "image_folder"}
    with extra_callback(clock), redirect_stdout(StringIO()):
        run(config)
    shutil.rmtree(folder)
    return clock.took


def peer(job: Job) -> tuple[float, float]:
    """Lets semilearn evaluate the same images."""
    with redirect_stdout(StringIO()), without_cuda():
        algorithm = fixmatch(
            job.images, job.targets, 1, batch_size=16, uratio=7, eval_batch_size=512
        )
        algorithm.dataset_dict["eval"].data = job.images
        algorithm.dataset_dict["eval"].targets = job.targets.tolist()
        algorithm.loader_dict = algorithm.set_data_loader()
        algorithm.call_hook("before_run")
        began = time.perf_counter(), cpu_seconds()
        algorithm.evaluate("eval")
        return time.perf_counter() - began[0], cpu_seconds() - began[1]


def main() -> None:
    """Measures all in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="<root>/<class>/<image>, 32x32")
    parser.add_argument("--per-class", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    tune_process()
    root = Path(tempfile.mkdtemp())
    for folder in (p for p in options.root.iterdir() if p.is_dir()):
        (root / folder.name).mkdir()
        for file in sorted(folder.iterdir())[: options.per_class]:
            (root / folder.name / file.name).symlink_to(file.absolute())
    logging.getLogger("sesemi_like").setLevel(logging.ERROR)
    job = read_job(root, 16, 1, options.per_class)
    first = "semilearn 0.3.2"
    cases = {
        first: lambda: peer(job),
        "sesemi_like, its defaults": lambda: ours(job, "auto"),
        "sesemi_like, run.precision=32": lambda: ours(job, "32"),
        "sesemi_like, its defaults without a teacher": lambda: ours(
            job, "auto", "learner.hparams.model.ema=null"
        ),
    }
    times = {name: Times() for name in cases}
    for _ in range(options.repeats + 1):
        for name, case in cases.items():
            wall, cpu = case()
            times[name].wall.append(wall / len(job.images))
            times[name].cpu.append(cpu / len(job.images))
    for found in times.values():
        del found.wall[0], found.cpu[0]
    print_machine(f"{len(job.images)} images, {options.repeats} interleaved repeats")
    print_table(times, "ms an image", kind="wall", against={"images/s over semilearn": first})


if __name__ == "__main__":
    main()
