"""What the tuning of a process saves of a whole FixMatch step: glibc's `mallopt`, on and off.

    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/ablation.py --root CIFAR10/train

It holds for a process, so processes with and without it take turns. The cases are the config
`quickstart`, the same with a network of two small layers, the config `cifar10` (WRN-28-2, 16
labeled and 7 x 16 unlabeled images of 32 x 32) and the config of docs/own_images.md (`small_cnn`,
32 labeled and 64 unlabeled images of 64 x 64). CPU seconds are those of all threads; saved is the
share of the step without the tuning.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from functools import partial
from io import StringIO
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytorch_lightning as pl
from common import in_own_process, print_machine
from fixmatch_cases import WARM_UP, compose_config, extra_callback
from omegaconf import OmegaConf

from sesemi_like.run.execute import run

CASES = {
    "quickstart, network of two small layers (tiny)": 50,
    "quickstart": 50,
    "FixMatch, WRN-28-2, 32 x 32": 5,
    "FixMatch, small_cnn, photographs of 64 x 64": 5,
}
"""The cases, and the steps of each that are counted."""


class CpuTimes(pl.Callback):
    """Records the CPU time at the end of each step."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        """Records the time."""
        self.ends.append(time.process_time())


def config_of(case: str, root: Path, steps: int) -> Any:
    """The config of a case, without validation and checkpoints."""
    common = [f"run.num_iterations={steps}", "run.seed=0", f"run.dir={tempfile.mkdtemp()}"]
    common += ["data.val=null", "data.test=null", "+trainer.log_every_n_steps=1000000"]
    if case.startswith("quickstart"):
        config = compose_config("quickstart", *common, "~trainer.callbacks")
        if "tiny" in case:
            config.learner.hparams.model.backbone.widths = [4, 8]
        return config
    name = "cifar10" if "WRN" in case else "sesemi_config"
    groups = (
        "data=image_folder backbone=small_cnn optimizer=sgd lr_scheduler=cosine method=fixmatch"
    )
    loss = "learner.hparams.model.supervised_loss.callable._target_=torch.nn.CrossEntropyLoss"
    own = [*groups.split(), "data.image_size=64", "learner.hparams.num_classes=10", f"+{loss}"]
    own.append("learner.hparams.model.backbone.in_chans=3")
    config = compose_config(name, *common, *([] if "WRN" in case else own))
    OmegaConf.set_struct(config, False)
    labeled, unlabeled = (16, 112) if "WRN" in case else (32, 64)
    for loader, part, batch in (
        ("supervised", "labelled", labeled), ("unlabeled", "all", unlabeled)
    ):  # fmt: skip
        settings = config.data.train[loader]
        transform = settings.dataset.get("image_transform")
        settings.dataset = {
            "name": "image_folder", "root": str(root.absolute()), "part": part,
            "labels_per_class": 4, "image_transform": transform,
        }  # fmt: skip
        settings.batch_size_per_gpu = batch
    return config


def measure(root: Path) -> dict[str, float]:
    """Runs every case in this process; returns the median CPU milliseconds of a step of each."""
    found: dict[str, float] = {}
    for case, steps in CASES.items():
        config, times = config_of(case, root, WARM_UP + steps), CpuTimes()
        with extra_callback(times), redirect_stdout(StringIO()):
            run(config)
        shutil.rmtree(config.run.dir)
        taken = [after - before for before, after in pairwise(times.ends[WARM_UP - 1 :])]
        found[case] = statistics.median(taken) * 1e3
    return found | {"MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def spread(values: Sequence[float], unit: str = "") -> str:
    """Prints the median and the range."""
    return f"{statistics.median(values):.3g}{unit} ({min(values):.3g} to {max(values):.3g})"


def print_rows(rounds: Sequence[tuple[Mapping[str, float], Mapping[str, float]]]) -> None:
    """Prints a row for each case.

    Args:
        rounds: The figures of a process with the tuning and of one without it, for each repeat.
    """
    print("| step | CPU ms with mallopt, median (min to max) | without it | saved |")
    print("| --- | --- | --- | --- |")
    for case in CASES:
        sides = [[tuned[case] for tuned, _ in rounds], [untuned[case] for _, untuned in rounds]]
        saved = [(off - on) / off * 100 for on, off in zip(*sides, strict=True)]
        print(f"| {case} | {' | '.join(map(spread, sides))} | {spread(saved, ' %')} |")
    peaks = [
        statistics.median(side["MiB"] for side in sides) for sides in zip(*rounds, strict=True)
    ]
    print(f"\nMiB resident at most: {peaks[0]:.0f} with mallopt, {peaks[1]:.0f} without")


def main() -> None:
    """Lets processes with and without the tuning take turns and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="<root>/<class>/<image>, 32x32")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--process", choices=("tuned", "untuned"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.process:
        # The module tunes malloc on Linux alone.
        elsewhere = patch("sesemi_like.devices.sys", SimpleNamespace(platform="elsewhere"))
        with nullcontext() if options.process == "tuned" else elsewhere:
            print(json.dumps(measure(options.root)))
        return
    in_turn = partial(in_own_process, __file__, "--root", str(options.root), "--process")
    rounds = [(in_turn("tuned"), in_turn("untuned")) for _ in range(options.repeats)]
    print_machine(f"{options.repeats} interleaved repeats")
    print_rows(rounds)


if __name__ == "__main__":
    main()
