"""A quickstart of seconds, on the CPU, for tests of whole runs."""

import json
from pathlib import Path
from typing import Any

import torch
from composing import composed

from sesemi_like.config.check import check
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES

# Five steps an epoch: floor(1437 / 256) of the unlabeled loader.
TINY = [
    "run.gpus=0",
    "run.num_iterations=10",
    "data.train.unlabeled.repeat=1",
    "data.train.supervised.repeat=1",
    "data.train.unlabeled.batch_size_per_gpu=256",
    "learner.hparams.model.backbone.widths=[4,8]",
    "++trainer.log_every_n_steps=1",
]


def fit(folder: Path, *overrides: str, name: str = "quickstart") -> tuple[Path, dict[str, Any]]:
    """Runs a tiny quickstart.

    Args:
        folder: The parent of all runs; it has no other run.
        *overrides: As on the command line.
        name: The primary config.

    Returns:
        The run's folder, and its summary.
    """
    config = composed(name, *TINY, f"run.dir={folder}", *overrides)
    run(config, check(config, MODES))
    (path,) = folder.glob("*/*/summary.json")
    return path.parent, json.loads(path.read_text())


def weights(folder: Path) -> Any:
    """The state of the learner in the last checkpoint of a run's folder."""
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def small_images(root: Path, folder: Path) -> list[str]:
    """Overrides of `imagewang` that train on a folder of images for an epoch of seconds."""
    hparams = "learner.hparams"
    return [
        f"{hparams}.num_classes=10", "backbone=small_cnn", "data=image_folder", "run.gpus=0",
        f"{hparams}.model.backbone.widths=[4]", f"{hparams}.model.backbone.in_chans=3",
        f"{hparams}.lr_scheduler.scheduler.warmup_epochs=0", "run.num_epochs=1",
        "data.image_size=16", f"run.data_root={root}", f"run.dir={folder}",
    ]  # fmt: skip
