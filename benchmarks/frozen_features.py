"""FixMatch on a frozen backbone that is run in each step, or once for each image.

    python benchmarks/frozen_features.py --root CIFAR10/train

So many images of the folder are trained on, with a network of random weights that stay as they are.
Without kept features some steps are measured and taken for all; with them all steps are made, by a
run that computes the features and by one that finds them. Steps are timed in the training loop
alone, without the first, which tries how forwards are run; runs include everything. All are seconds
of CPU on one thread, so that other work on the machine counts little. `--fixed` takes views that
draw nothing, makes the same steps both ways, and compares the losses.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from common import cpu_seconds, print_machine

from sesemi_like.config.check import check
from sesemi_like.config.own_code import own_code
from sesemi_like.config.resolvers import register_resolvers
from sesemi_like.config.search_path import compose_config, own_configs
from sesemi_like.config.store import register_configs
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES

MODEL, DRAWS = "learner.hparams.model", 4
FIXED = [
    f"data.train.{view}.steps=[${{data.val.views.image}}]"
    for view in ("supervised.views.image", "unlabeled.views.weak", "unlabeled.views.strong")
]


class Clock(pl.Callback):
    """Notes when steps end."""

    times: list[float]

    def on_train_start(self, *_: Any) -> None:
        """Begins anew."""
        type(self).times = []

    def on_train_batch_end(self, *_: Any) -> None:
        """Notes the end of a step."""
        self.times.append(cpu_seconds())


def split_images(source: Path, root: Path, count: int) -> Path:
    """Copies so many images of all class folders for training, and a fifth for validation."""
    for kind in sorted(path for path in source.iterdir() if path.is_dir()):
        files, each = sorted(kind.iterdir()), count // 10
        for subset, chosen in (("train", files[:each]), ("val", files[each : each + each // 5])):
            (root / subset / kind.name).mkdir(parents=True)
            for path in chosen:
                shutil.copy(path, root / subset / kind.name)
    return root


def train(
    root: Path, folder: Path, steps: int, draws: int | None, options: argparse.Namespace
) -> dict[str, Any]:
    """Trains; returns the summary, with seconds of a step and of the whole run."""
    overrides = [
        "method=fixmatch", "data=image_folder", f"backbone={options.backbone}", "run.gpus=0",
        f"run.data_root={root}", f"run.dir={folder / 'runs'}", f"run.cache_dir={folder / 'cache'}",
        f"run.num_iterations={steps}", f"run.validate_every={steps}", "data.image_size=32",
        "data.labels_per_class=4", "data.train.supervised.batch_size_per_gpu=16",
        "data.train.unlabeled.batch_size_per_gpu=112", "learner.hparams.trainable=[head]",
        f"{MODEL}.frozen_features={'null' if draws is None else draws}",
        f"trainer.callbacks=[{{_target_: {__name__}.Clock}}]", *options.override,
    ]  # fmt: skip
    if options.fixed:
        overrides += FIXED
    with own_configs(None), own_code(None):
        config = compose_config("quickstart", overrides)
    begin = cpu_seconds()
    summary = run(config, check(config, MODES))
    loop = (Clock.times[-1] - Clock.times[0]) / (len(Clock.times) - 1)
    return {**summary, "step": loop, "all": cpu_seconds() - begin}


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="class folders of small images")
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--measured", type=int, default=30, help="steps without kept features")
    parser.add_argument("--backbone", default="resnet18d")
    parser.add_argument("--fixed", action="store_true", help="views that draw nothing")
    parser.add_argument("override", nargs="*", help="as of open_cli")
    options = parser.parse_args()
    torch.set_num_threads(1)
    register_configs()
    register_resolvers()
    print_machine(f"{options.count:,} images, {options.steps:,} steps, {options.backbone}")
    draws = 1 if options.fixed else DRAWS
    with tempfile.TemporaryDirectory() as folder:
        root = split_images(options.root, Path(folder) / "images", options.count)
        made = options.steps if options.fixed else options.measured
        plain = train(root, Path(folder), made, None, options)
        first = train(root, Path(folder), options.steps, draws, options)
        again = train(root, Path(folder), options.steps, draws, options)
    print(f"\n| backbone is run | a step, ms | {options.steps:,} steps, s | whole run, s |")
    print("| --- " * 4 + "|")
    for name, found in {"in each step": plain, "once": first, "in an earlier run": again}.items():
        whole = f"{found['all']:.1f}" if found["steps"] == options.steps else ""
        step = found["step"]
        print(f"| {name} | {step * 1000:.2f} | {step * options.steps:.1f} | {whole} |")
    print(f"\nA step takes {plain['step'] / again['step']:.0f} times as long without.")
    if options.fixed:
        losses = [found["training"]["train/loss"] for found in (plain, again)]
        print(f"train/loss at the end: {losses[0]:.6f} without, {losses[1]:.6f} with")


if __name__ == "__main__":
    main()
