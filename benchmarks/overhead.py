"""What a step costs beyond its arithmetic: Lightning, plan, heads, logging, with a tiny network.

    python benchmarks/overhead.py

The quickstart's FixMatch on digits with a network of two small layers: a whole run against a bare
loop over the same loaders and views, and against the least that Lightning can be. Goal: under 1 ms
and 3 % more for a step than the bare loop.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
import warnings
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from common import print_machine
from fixmatch_cases import StepTimes, compose_config, extra_callback

from sesemi_like.data.loading.keys import TRAIN
from sesemi_like.devices import tune_process
from sesemi_like.learners import Learner
from sesemi_like.run.execute import run
from sesemi_like.run.prepare import prepare

SKIPPED = 50


def config_of(steps: int, method: str) -> object:
    """The quickstart with a tiny network, in float32 for both."""
    return compose_config(
        "quickstart", f"method={method}", f"run.num_iterations={steps}", "run.precision=32",
        "learner.hparams.model.backbone.widths=[4,8]", f"run.dir={tempfile.mkdtemp()}",
        "data.val=null", "data.test=null", "~trainer.callbacks",
    )  # fmt: skip


def ours(steps: int, method: str) -> float:
    """Seconds a step of a whole run."""
    config, times = config_of(steps, method), StepTimes()
    with extra_callback(times), redirect_stdout(StringIO()):
        run(config)  # type: ignore[arg-type]
    shutil.rmtree(config.run.dir)  # type: ignore[attr-defined]
    return statistics.median(np.diff(times.ends[SKIPPED:]))


def bare(steps: int, method: str) -> float:
    """Seconds a step of a plain loop over the same batches."""
    prepared = prepare(config_of(steps, method))  # type: ignore[arg-type]
    data, learner = prepared.data, prepared.learner
    network, teacher = learner.networks["classifier"], learner.networks.module("teacher")
    optimizer, ends = learner.build_optimizer(), []
    learner.train()
    while len(ends) < steps:
        for step, loaded in enumerate(data.train_dataloader()):
            batch = {
                f"{name}.{field}": value
                for name, fields in loaded.items()
                for field, value in data.loaders[TRAIN + name]
                .views.apply(fields, number=step)
                .items()
            }
            loss = loss_of(network, batch, method)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            teacher.update(learner.networks.module("classifier"), step)  # type: ignore[operator]
            ends.append(time.perf_counter())
    return statistics.median(np.diff(ends[SKIPPED:steps]))


class Plain(pl.LightningModule):
    """The least that Lightning needs: loss, optimizer and teacher; no heads, no logging."""

    def __init__(self, learner: Learner, method: str) -> None:
        super().__init__()
        self.learner, self.method = learner, method

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Computes the loss."""
        return loss_of(self.learner.networks["classifier"], batch, self.method)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Steps the optimizer, then the teacher."""
        super().optimizer_step(*args, **kwargs)
        networks = self.learner.networks
        networks.module("teacher").update(networks.module("classifier"), 1)  # type: ignore[operator]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Builds the learner's optimizer."""
        return self.learner.build_optimizer()


def plain(steps: int, method: str) -> float:
    """Seconds a step of a Lightning Trainer without loggers, checkpoints and progress."""
    prepared, times = prepare(config_of(steps, method)), StepTimes()  # type: ignore[arg-type]
    off = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    trainer = pl.Trainer(
        max_steps=steps, max_epochs=-1, accelerator="cpu", callbacks=[times], **off
    )
    trainer.fit(Plain(prepared.learner, method), datamodule=prepared.data)
    return statistics.median(np.diff(times.ends[SKIPPED:]))


def loss_of(network: object, batch: dict[str, torch.Tensor], method: str) -> torch.Tensor:
    """The supervised loss and, with it, FixMatch's."""
    logits = network(batch["supervised.image"])["logits"]  # type: ignore[operator]
    loss = F.cross_entropy(logits, batch["supervised.target"])
    if method == "supervised":
        return loss
    with torch.no_grad():
        weak = network(batch["unlabeled.weak"])["logits"]  # type: ignore[operator]
        confidence, pseudo = weak.softmax(1).max(1)
    strong = network(batch["unlabeled.strong"])["logits"]  # type: ignore[operator]
    losses = F.cross_entropy(strong, pseudo, reduction="none")
    return loss + (losses * (confidence >= 0.95)).mean()


def main() -> None:
    """Measures both in turn and prints the difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    uncounted = f"more than {SKIPPED + 1}, of which the first {SKIPPED} are not counted"
    parser.add_argument("--steps", type=int, default=400, help=uncounted)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if options.steps <= SKIPPED + 1:
        parser.error(f"--steps: found {options.steps}; needs {uncounted}")
    tune_process()
    warnings.simplefilter("ignore")
    print_machine(f"{options.repeats} interleaved runs of {options.steps} steps")
    titles = ("method", "bare loop, ms a step", "plain Lightning", "whole run", "overhead", "goal")
    print("| " + " | ".join(titles) + " |\n| " + " | ".join("---" for _ in titles) + " |")
    for method in ("supervised", "fixmatch"):
        rounds = [
            [case(options.steps, method) * 1e3 for case in (bare, plain, ours)]
            for _ in range(options.repeats)
        ]
        alone, lightning, whole = (statistics.median(side) for side in zip(*rounds, strict=True))
        spread = [found[2] - found[0] for found in rounds]
        overhead = f"{whole - alone:.2f} ({min(spread):.2f}-{max(spread):.2f})"
        cells = f"{alone:.2f} | {lightning:.2f} | {whole:.2f} | {overhead} | {1 + 0.03 * alone:.2f}"
        print(f"| {method} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
