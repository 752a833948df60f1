"""What a step costs beyond its arithmetic: Lightning, plan, heads, logging, with a tiny network.

    python benchmarks/overhead.py

The quickstart's FixMatch on digits with a network of two small layers: a whole run against a bare
loop over the same loaders and views. Goal: under 1 ms and 3 % more for a step.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import torch
import torch.nn.functional as F
from common import print_machine
from fixmatch_cases import StepTimes, composed, patched_callbacks

from sesemi_like.devices import tune_process
from sesemi_like.run import prepare, run

SKIPPED = 50


def config_of(steps: int, method: str) -> object:
    """The quickstart with a tiny network, in float32 for both."""
    return composed(
        "quickstart", f"method={method}", f"run.num_iterations={steps}", "run.precision=32",
        "learner.hparams.model.backbone.widths=[4,8]", f"run.dir={tempfile.mkdtemp()}",
        "data.val=null", "data.test=null", "~trainer.callbacks",
    )  # fmt: skip


def ours(steps: int, method: str) -> float:
    """Seconds a step of a whole run."""
    config, times = config_of(steps, method), StepTimes()
    with patched_callbacks(times), redirect_stdout(StringIO()):
        run(config)  # type: ignore[arg-type]
    shutil.rmtree(config.run.dir)  # type: ignore[attr-defined]
    return statistics.median(np.diff(times.ends[SKIPPED:]))


def bare(steps: int, method: str) -> float:
    """Seconds a step of a plain loop over the same batches."""
    prepared = prepare(config_of(steps, method))  # type: ignore[arg-type]
    data, learner = prepared.data, prepared.learner
    network, teacher = learner.networks["classifier"], learner.networks.module("teacher")
    optimizer, ends = learner.configured_optimizer(), []
    learner.train()
    while len(ends) < steps:
        for step, loaded in enumerate(data.train_dataloader()):
            batch = {
                f"{name}.{field}": value
                for name, fields in loaded.items()
                for field, value in data._with_views(name, fields, step=step, rank=0).items()
            }
            loss = loss_of(network, batch, method)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            teacher.update(learner.networks.module("classifier"), step)  # type: ignore[operator]
            ends.append(time.perf_counter())
    return statistics.median(np.diff(ends[SKIPPED:steps]))


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
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    tune_process()
    print_machine(f"{options.repeats} interleaved runs of {options.steps} steps")
    print("| method | bare loop, ms a step | whole run, ms a step | overhead, ms | goal |")
    print("| --- | --- | --- | --- | --- |")
    for method in ("supervised", "fixmatch"):
        pairs = [
            (bare(options.steps, method), ours(options.steps, method))
            for _ in range(options.repeats)
        ]
        alone, whole = (statistics.median(side) * 1e3 for side in zip(*pairs, strict=True))
        spread = [(b - a) * 1e3 for a, b in pairs]
        cells = f"{whole - alone:.2f} ({min(spread):.2f}-{max(spread):.2f})"
        print(f"| {method} | {alone:.2f} | {whole:.2f} | {cells} | {1 + 0.03 * alone:.2f} |")


if __name__ == "__main__":
    main()
