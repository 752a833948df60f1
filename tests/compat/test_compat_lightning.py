"""Lightning's private parts are there and do what is relied on."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger, Logger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from sesemi_like.compat.lightning import set_logged_step, signal_launched_processes, writes_logs


class Recorder(CSVLogger):
    """Notes the steps under which metrics are written."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.steps: list[int | None] = []

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.steps.append(step)


class LogsEveryStep(pl.LightningModule):
    """Logs in each step, and notes in which steps it would be written."""

    def __init__(self, first: int = 0) -> None:
        super().__init__()
        self.layer, self.first = nn.Linear(2, 1), first
        self.written: list[int] = []

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            set_logged_step(self.trainer, self.first)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss = self.layer(batch).sum()
        self.log("loss", loss)
        if writes_logs(self.trainer):
            self.written.append(self.first + batch_idx)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def build_trainer(logger: Logger | bool = False, **settings: Any) -> pl.Trainer:
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=logger, enable_checkpointing=False,
        **quiet, **settings,
    )  # fmt: skip


@pytest.mark.parametrize(("first", "expected"), [(0, [2, 5]), (7, [8, 11])])
def test_steps_are_written_as_they_are_announced_and_numbered(
    tmp_path: Path, first: int, expected: list[int]
) -> None:
    logger, module = Recorder(tmp_path), LogsEveryStep(first)
    rows: Any = torch.ones(7, 2)
    loader: DataLoader[Any] = DataLoader(rows, batch_size=1)
    build_trainer(logger, log_every_n_steps=3).fit(module, loader)
    assert module.written == logger.steps == expected


@pytest.mark.parametrize("strategy", ["ddp", "ddp_spawn"])
def test_processes_that_lightning_launched_get_the_signal(strategy: str) -> None:
    trainer = build_trainer(devices=2, strategy=strategy)
    launcher: Any = trainer.strategy.launcher
    assert hasattr(launcher, "kill"), "Lightning's launchers stop their processes another way"
    if strategy == "ddp":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        launcher.procs.append(child)
        signal_launched_processes(trainer, signal.SIGTERM)
        assert child.wait(timeout=30) == -signal.SIGTERM


def test_a_run_of_one_process_has_none_to_signal() -> None:
    signal_launched_processes(build_trainer(devices=1), signal.SIGTERM)
