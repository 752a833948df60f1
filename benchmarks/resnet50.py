"""A supervised step of ResNet-50 at 224 x 224 from JPEG files, beside a bare PyTorch loop.

    python benchmarks/resnet50.py                        # on a GPU
    python benchmarks/resnet50.py --batch 4 --steps 6    # small enough for a CPU

The run reads generated images from an image folder through the cache; the bare loop trains on one
batch that already lies on the device, in the same precision, which no run can beat.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from common import print_machine, print_table, runs_in_turn, wait
from fixmatch_cases import WARM_UP, StepTimes, compose_config, extra_callback
from images import write_images
from timm import create_model

from sesemi_like.devices import choose_precision, tune_process
from sesemi_like.run.execute import run


def ours(root: Path, batch: int, steps: int) -> list[float]:
    """Seconds of each step of a run of the config `imagewang` with a supervised loss alone."""
    folder, times = tempfile.mkdtemp(), StepTimes()
    config = compose_config(
        "imagewang", "data=image_folder", "method=supervised", "backbone=timm",
        "learner.hparams.model.backbone.name=resnet50", "learner.hparams.num_classes=2",
        f"run.num_iterations={steps}", f"run.dir={folder}", f"run.data_root={root}",
        "data.val=null", "data.train.unlabeled=null", "run.num_epochs=null",
        "learner.hparams.lr_scheduler.scheduler.warmup_epochs=0",
        f"data.train.supervised.batch_size_per_gpu={batch}",
        f"data.train.supervised.repeat={steps}", "data.train.supervised.drop_last=true",
    )  # fmt: skip
    with extra_callback(times), redirect_stdout(StringIO()):
        run(config)
    shutil.rmtree(folder)
    return list(np.diff(times.ends[WARM_UP - 1 :]))


def bare(batch: int, steps: int) -> list[float]:
    """Seconds of each step on a batch that is already there."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = create_model("resnet50", num_classes=2).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, fused=True)
    images = torch.randn(batch, 3, 224, 224, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    targets = torch.randint(2, (batch,), device=device)
    is_bf16 = choose_precision("auto", device.type) == "bf16-mixed"
    ends = []
    for _ in range(steps):
        with torch.autocast(device.type, torch.bfloat16, enabled=is_bf16):
            logits = network(images)
        loss = F.cross_entropy(logits.float(), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        wait()
        ends.append(time.perf_counter())
    return list(np.diff(ends[WARM_UP - 1 :]))


def main() -> None:
    """Measures both in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    tune_process()
    folder = Path(tempfile.mkdtemp())
    write_images(folder / "train", (500, 375), max(512, 2 * options.batch))
    floor = "bare loop on one batch"
    cases = {
        floor: lambda: bare(options.batch, options.steps),
        "sesemi_like, from the image folder": lambda: ours(folder, options.batch, options.steps),
    }
    times = runs_in_turn(cases, options.repeats, options.steps)
    shutil.rmtree(folder)
    print_machine(f"batch {options.batch}, {options.repeats} runs of {options.steps} steps")
    print_table(times, "s a step", scale=1, kind="wall", against={"over the bare loop": floor})


if __name__ == "__main__":
    main()
