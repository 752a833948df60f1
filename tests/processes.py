"""Several processes of one run, as torchrun starts them, and what such tests train."""

import multiprocessing
import os
import random
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.multiprocessing as mp
from composing import composed
from torch import Tensor, nn

from sesemi_like.config.check import check
from sesemi_like.models.backbones.base import Backbone, global_average
from sesemi_like.models.heads.loss import FixMatchLossHead
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES


def in_processes(function: Callable[..., None], *arguments: Any, count: int = 2) -> None:
    """Calls a function ``(rank, *arguments)`` in several processes that can find each other.

    They are forked from a process that has imported what they need. The first failure ends all.
    """
    multiprocessing.set_forkserver_preload(["sesemi_like.run.execute"])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    given = (function, port, count, arguments)
    mp.start_processes(_as_torchrun, args=given, nprocs=count, start_method="forkserver")


def _as_torchrun(
    rank: int, function: Callable[..., None], port: int, count: int, given: Any
) -> None:
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "none",
    }  # fmt: skip
    torch.set_num_threads(1)
    rank_zero: Any = pl.utilities.rank_zero_only
    rank_zero.rank = rank
    function(rank, *given)


class NetworkWithoutBatchNorm(Backbone):
    """Two convolutions normed within each image: rows do not see each other.

    It is smooth, so that rounding stays as small as it is.
    """

    def __init__(self, in_chans: int, widths: Sequence[int], drop_rate: float = 0) -> None:
        super().__init__()
        first, second = widths
        self.layers = nn.Sequential(
            nn.Conv2d(in_chans, first, 3, padding=1), nn.GroupNorm(2, first), nn.GELU(),
            nn.AvgPool2d(2),
            nn.Conv2d(first, second, 3, padding=1), nn.GroupNorm(2, second), nn.GELU(),
        )  # fmt: skip
        self.dropout = nn.Dropout(drop_rate)
        self.out_features = second

    def forward(self, images: Tensor) -> Tensor:
        return self.dropout(global_average(self.layers(images)))


class Ending(pl.Callback):
    """Kills its process after some steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.steps:
            os.kill(os.getpid(), 9)


class FixMatchAwayFromTies(FixMatchLossHead):
    """FixMatch that refuses confidences so near the threshold that rounding may decide."""

    def forward(self, outputs: Any, step: Any) -> Any:
        distances = outputs["judged"]["logits"].softmax(dim=1).amax(dim=1) - 0.95
        assert distances.abs().min() > 1e-6
        return super().forward(outputs, step)


def train(folder: Path, processes: int, overrides: Sequence[str], end: int | None = None) -> None:
    """Trains a small quickstart and keeps checkpoints at every 20th step: ``at-step=20.ckpt``."""
    callbacks = [
        "{_target_: pytorch_lightning.callbacks.ModelCheckpoint, every_n_train_steps: 20,"
        "save_top_k: -1, filename: 'at-{step}', save_on_train_epoch_end: false}"
    ]
    if end:
        callbacks.append(f"{{_target_: processes.Ending, steps: {end}}}")
    small = [
        "run.gpus=0", "run.precision=32", "++trainer.accelerator=cpu",
        f"++trainer.devices={processes}", f"run.dir={folder}", "run.num_iterations=60",
        "learner.hparams.model.backbone._target_=processes.NetworkWithoutBatchNorm",
        "learner.hparams.model.backbone.widths=[8,16]",
        "data.val=null", "data.test=null", "data.train.unlabeled.repeat=1",
        f"trainer.callbacks=[{', '.join(callbacks)}]",
    ]  # fmt: skip
    for loader, rows in {"supervised": 16, "unlabeled": 56}.items():
        small += [f"++data.train.{loader}.batch_size={rows}"]
        small += [f"data.train.{loader}.batch_size_per_gpu=null"]
    config = composed("quickstart", *small, *overrides)
    run(config, check(config, MODES))
    drawn = {"torch": torch.rand(4), "numpy": np.random.rand(4), "python": random.random()}
    rank_zero: Any = pl.utilities.rank_zero_only
    torch.save(drawn, folder / f"drawn-{rank_zero.rank}.pt")


def draws(folder: Path, rank: int) -> dict[str, list[float]]:
    """What the generators of a process drew after its run."""
    found = torch.load(folder / f"drawn-{rank}.pt", weights_only=False)
    return {name: np.asarray(values).tolist() for name, values in found.items()}


def weights(folder: Path, step: int) -> dict[str, Tensor]:
    """The state that a run had after a step."""
    return torch.load(checkpoint(folder, step), weights_only=True)["state_dict"]


def checkpoint(folder: Path, step: int) -> Path:
    """The checkpoint of the only run below a folder that kept one at a step."""
    (path,) = folder.rglob(f"at-step={step}.ckpt")
    return path
