"""What each optimization saves of a whole FixMatch step: measured with it and without it.

    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/ablation.py --root CIFAR10/train

An optimization of views is switched from step to step within a run, so its rows compare neighboring
steps; glibc's `mallopt` holds for a process, so processes with and without it take turns. The cases
are the config `quickstart`, the same with a network of two small layers, the config `cifar10`
(WRN-28-2, 16 labeled and 7 x 16 unlabeled images of 32 x 32) and the config of docs/own_images.md
(`small_cnn`, 32 labeled and 64 unlabeled photographs of 64 x 64). CPU seconds are those of all
threads; saved is the share of the step without the optimization.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytorch_lightning as pl
import torch
from common import in_own_process, print_machine
from fixmatch_cases import composed, patched_callbacks
from omegaconf import OmegaConf
from torch import Tensor

from sesemi_like.run.prepare import run
from sesemi_like.views.images import as_float
from sesemi_like.views.normalize import Normalize

ALL = "all of them"
MALLOPT = "mallopt"
WARM_UP = 3


def normalized(view: Normalize, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """A normalization of two plain operations."""
    mean, std = (torch.tensor(values).reshape(-1, 1, 1) for values in (view.mean, view.std))
    return (as_float(images) - mean) / std


WITHOUT: Mapping[str, tuple[type, str, Callable[..., Any]]] = {
    "normalize.scaled": (Normalize, "__call__", normalized),
}
VARIANTS: Mapping[str, tuple[str, ...]] = {
    "": (),
    **{name: (name,) for name in WITHOUT},
    ALL: tuple(WITHOUT),
}


class Switch(pl.Callback):
    """Switches optimizations off in turn, from step to step, and records the steps' CPU seconds.

    Attributes:
        steps: CPU seconds of whole steps, by what was switched off.
        views: CPU seconds of their views.
    """

    def __init__(self, variants: Sequence[str]) -> None:
        self.steps: dict[str, list[float]] = defaultdict(list)
        self.views: dict[str, list[float]] = defaultdict(list)
        self.order = random.Random(0)
        self.variants, self.queue = list(variants), [""] * WARM_UP
        self.stack, self.began, self.of_views = ExitStack(), 0.0, 0.0

    def on_fit_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Times the views, too."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        make = data.on_after_batch_transfer

        def timed(batch: Any, dataloader_idx: int) -> Any:
            began = time.process_time()
            result = make(batch, dataloader_idx)
            self.of_views = time.process_time() - began
            return result

        data.on_after_batch_transfer = timed

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Records the step and switches to the next variant."""
        if trainer.global_step > WARM_UP:
            name = self.queue[0]
            self.steps[name].append(time.process_time() - self.began)
            self.views[name].append(self.of_views)
        del self.queue[0]
        if not self.queue:
            self.queue = self.order.sample(self.variants, len(self.variants))
        self.stack.close()
        for part in VARIANTS[self.queue[0]]:
            self.stack.enter_context(patch.object(*WITHOUT[part]))
        self.began = time.process_time()


def config_of(case: str, root: Path, steps: int) -> Any:
    """The config of a case, without validation and checkpoints."""
    common = [f"run.num_iterations={steps}", "run.seed=0", f"run.dir={tempfile.mkdtemp()}"]
    common += ["data.val=null", "data.test=null", "+trainer.log_every_n_steps=1000000"]
    if case.startswith("quickstart"):
        config = composed("quickstart", *common, "~trainer.callbacks")
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
    config = composed(name, *common, *([] if "WRN" in case else own))
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


CASES = {
    "quickstart, network of two small layers (tiny)": 10,
    "quickstart": 10,
    "FixMatch, WRN-28-2, 32 x 32": 3,
    "FixMatch, small_cnn, photographs of 64 x 64": 3,
}
"""The cases, and how often each variant has its turn in a run."""


def measured(root: Path, variants: Sequence[str]) -> dict[str, float]:
    """Runs every case in this process; returns median CPU seconds by kind, case and variant."""
    found: dict[str, float] = {}
    for case, turns in CASES.items():
        config = config_of(case, root, WARM_UP + turns * len(variants))
        switch = Switch(variants)
        with patched_callbacks(switch), redirect_stdout(StringIO()):
            run(config)
        shutil.rmtree(config.run.dir)
        for kind, times in (("step", switch.steps), ("views", switch.views)):
            found |= {f"{kind}|{case}|{n}": statistics.median(v) for n, v in times.items()}
    return found | {"MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def spread(values: Sequence[float], unit: str = "") -> str:
    """Prints the median and the range."""
    return f"{statistics.median(values):.3g}{unit} ({min(values):.3g} to {max(values):.3g})"


def print_rows(rounds: Sequence[tuple[dict[str, float], dict[str, float]]]) -> None:
    """Prints a row for each case and optimization.

    Args:
        rounds: The figures of a process with mallopt and of one without it, for each repeat.
    """
    print("| step | without | CPU ms with it, median (min to max) | without it | step | saved |")
    print("| --- | --- | --- | --- | --- | --- |")
    for case in CASES:
        steps = [tuned[f"step|{case}|"] * 1e3 for tuned, _ in rounds]
        for name in (MALLOPT, *list(VARIANTS)[1:]):
            kind, off = ("step", "") if name == MALLOPT else ("views", name)
            sides = [
                [
                    tuned[f"{kind}|{case}|"] * 1e3,
                    (untuned if name == MALLOPT else tuned)[f"{kind}|{case}|{off}"] * 1e3,
                ]
                for tuned, untuned in rounds
            ]
            saved = [
                (off - on) / (step + off - on) * 100
                for (on, off), step in zip(sides, steps, strict=True)
            ]
            cells = [spread(side) for side in zip(*sides, strict=True)]
            row = [case, name, *cells, f"{statistics.median(steps):.3g}", spread(saved, " %")]
            print(f"| {' | '.join(row)} |")
    peaks = [
        statistics.median(side["MiB"] for side in sides) for sides in zip(*rounds, strict=True)
    ]
    print(f"\nMiB resident at most: {peaks[0]:.0f} with mallopt, {peaks[1]:.0f} without")


def main() -> None:
    """Lets processes with and without mallopt take turns and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="<root>/<class>/<image>, 32x32")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--process", choices=("tuned", "untuned"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.process == "tuned":
        print(json.dumps(measured(options.root, list(VARIANTS))))
    elif options.process == "untuned":
        with patch("sesemi_like.devices.sys", SimpleNamespace(platform="none")):
            print(json.dumps(measured(options.root, [""])))
    else:
        print_machine(f"{options.repeats} interleaved repeats")
        in_turn = partial(in_own_process, __file__, "--root", str(options.root), "--process")
        print_rows([(in_turn("tuned"), in_turn("untuned")) for _ in range(options.repeats)])


if __name__ == "__main__":
    main()
