"""Private parts of Lightning that have no public equivalent."""

from __future__ import annotations

import signal
from typing import Any

import pytorch_lightning as pl


def writes_logs(trainer: pl.Trainer) -> bool:
    """Whether what is logged in the current step goes to the loggers.

    Lightning counts these steps apart from `global_step`, see :func:`set_logged_step`.
    """
    return bool(trainer._logger_connector.should_update_logs)


def set_logged_step(trainer: pl.Trainer, step: int) -> None:
    """Sets the number under which the next step is logged, and which decides whether it is written.

    After a checkpoint that was written at the end of an epoch, Lightning's count is one too high.

    Args:
        trainer: A trainer that fits.
        step: Optimizer steps taken so far.
    """
    trainer.fit_loop.epoch_loop._batches_that_stepped = step


def signal_launched_processes(trainer: pl.Trainer, number: signal.Signals) -> None:
    """Sends a signal to the processes that Lightning launched, if it launched any.

    The method is public, the classes of the launchers that have it are not.

    Args:
        trainer: The trainer of the first process.
        number: The signal.
    """
    launcher: Any = trainer.strategy.launcher
    if hasattr(launcher, "kill"):
        launcher.kill(number)
