"""Keeps the command's signal handlers in place while a Lightning Trainer runs."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytorch_lightning as pl

from ..compat.lightning import signal_launched_processes
from ..signals import Stopped


class KeepSignalHandlers(pl.Callback):
    """Keeps the process's own handler of SIGTERM, and stops the processes Lightning launched.

    Lightning's handler ends a run at the next batch with exit code 0, and waits for the other
    processes in the handler itself, which hangs unless all of them were sent the signal. A process
    without a handler of its own keeps Lightning's.
    """

    def __init__(self) -> None:
        self._handler: Any = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Remembers the handler before Lightning sets its own."""
        self._handler = signal.getsignal(signal.SIGTERM)

    def on_sanity_check_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restores the handler before Lightning's sanity check of validation."""
        self._restore()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restores the handler before training."""
        self._restore()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restores the handler before a validation."""
        self._restore()

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restores the handler before a test."""
        self._restore()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Forwards the signal to the processes that Lightning launched."""
        if isinstance(exception, Stopped):
            signal_launched_processes(trainer, signal.SIGTERM)

    def _restore(self) -> None:
        if callable(self._handler) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._handler)
