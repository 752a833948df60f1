"""Leaves signals to the command while a Lightning Trainer runs."""

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
        self._own: Any = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Notes the handler before Lightning sets its own."""
        self._own = signal.getsignal(signal.SIGTERM)

    def on_sanity_check_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Puts the handler back before the validation that Lightning tries out."""
        self._put_back()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Puts the handler back before training."""
        self._put_back()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Puts the handler back before a validation."""
        self._put_back()

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Puts the handler back before a test."""
        self._put_back()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Hands a signal on to the processes that Lightning launched."""
        if isinstance(exception, Stopped):
            signal_launched_processes(trainer, signal.SIGTERM)

    def _put_back(self) -> None:
        if callable(self._own) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._own)
