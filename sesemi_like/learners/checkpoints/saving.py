"""Checkpoints written: whole or not at all, the last one and the best one of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint, ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.trainer.states import TrainerFn

from ...compat.lightning import set_logged_step, validates_now
from ...config.intervals import Interval
from ...files import replacing
from .schedule import SaveSchedule


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints beside their target and renames them, so that none is ever torn.

    Lightning writes to the folder for temporary files, from where a checkpoint is copied over the
    only good one wherever that is another file system.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Saves a checkpoint.

        Args:
            checkpoint: What it is to hold.
            path: A local path; addresses such as ``s3://...`` are left to Lightning.
            storage_options: For other addresses.

        Raises:
            OSError: If it cannot be written; the file that was there is left as it is.
        """
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with replacing(path) as file:
            torch.save(checkpoint, file)


class LastCheckpoint(Checkpoint):
    """Keeps the weights of the newest validation, and of the end, as ``last.ckpt``.

    Lightning's own `save_last` saves only along with a checkpoint that was chosen, and nothing
    after the last validation.

    Args:
        dirpath: The folder.
        every_n_epochs: Epochs between two checkpoints where nothing is validated.
        interval: Saves at this interval, and at the end, in place of every validation.

    Attributes:
        path: The file.
        saved_step: The step of the file; None until one has been written.
    """

    def __init__(
        self, dirpath: str | Path, every_n_epochs: int = 1, interval: Interval | None = None
    ) -> None:
        self.path = Path(dirpath).expanduser().resolve() / "last.ckpt"
        self.every_n_epochs = every_n_epochs
        self.saved_step: int | None = None
        self._schedule = SaveSchedule(interval) if interval else None
        self._is_due = False

    @property
    def state_key(self) -> str:
        """The key that checkpoints of earlier versions have; without it Lightning would warn."""
        settings = {
            "monitor": None,
            "mode": "min",
            "every_n_train_steps": 0,
            "every_n_epochs": self.every_n_epochs,
            "train_time_interval": None,
        }
        return f"LastCheckpoint{settings!r}"

    def save(self, trainer: pl.Trainer) -> None:
        """Writes the file; to be called on all processes."""
        trainer.save_checkpoint(self.path)
        self.saved_step = trainer.global_step

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins to count."""
        if self._schedule:
            self._schedule.start(trainer.global_step)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Saves at the interval; what follows a validation or ends an epoch is saved after it."""
        if self._schedule is None or not self._schedule.is_due(trainer.global_step):
            return
        self._is_due = trainer.is_last_batch or validates_now(trainer)
        if not self._is_due and self._lacks_step(trainer):
            self.save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves, but leaves the end of an epoch to :meth:`on_train_epoch_end`.

        From a checkpoint of before that, the batches of this epoch would be read again.
        """
        is_due = (self._schedule is None or self._is_due) and not trainer.sanity_checking
        self._is_due = is_due and trainer.is_last_batch
        if is_due and not self._is_due and self._lacks_step(trainer):
            self.save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves after a validation or some epochs, and when training ends."""
        is_due, self._is_due = self._is_due or _is_over(trainer), False
        is_by_epochs = trainer.check_val_every_n_epoch == 1 and not _is_validated(trainer)
        if is_by_epochs and self._schedule is None:
            is_due |= (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if is_due and self._lacks_step(trainer):
            self.save(trainer)

    def _lacks_step(self, trainer: pl.Trainer) -> bool:
        """Whether training has made a step that is to be kept and is not in the file."""
        keeps = trainer.state.fn == TrainerFn.FITTING and not trainer.fast_dev_run  # type: ignore[attr-defined]
        return keeps and not trainer.sanity_checking and self.saved_step != trainer.global_step


def newest_checkpoint(trainer: pl.Trainer) -> Path | None:
    """The checkpoint to resume a run from that stops now: its last, or the one it came from."""
    callbacks = trainer.checkpoint_callbacks
    path: Any = trainer.ckpt_path
    if callbacks and isinstance(last := callbacks[-1], LastCheckpoint):
        path = path if last.saved_step is None else last.path
    elif callbacks and isinstance(last, ModelCheckpoint):
        path = last.best_model_path
    return Path(path) if path else None


def _is_validated(trainer: pl.Trainer) -> bool:
    batches = trainer.num_val_batches
    return bool(sum(batches) if isinstance(batches, list) else batches)


def _is_over(trainer: pl.Trainer) -> bool:
    """Whether this is the last epoch; `done` of Lightning's loop changes what would be saved."""
    epochs = trainer.current_epoch + 1  # it counts the epochs that have ended
    limits = ((trainer.max_steps, trainer.global_step), (trainer.max_epochs, epochs))
    is_reached = any(limit is not None and 0 <= limit <= count for limit, count in limits)
    return is_reached or trainer.should_stop


class CarryBestOver(pl.Callback):
    """Lets a resumed run, whose folder is a new one, go on from the best checkpoint so far.

    Lightning forgets the best checkpoint where the folder has changed, and would take the first one
    after resuming for the best. The old file stays where it is.
    """

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]
    ) -> None:
        """Rewrites the folder in the states of callbacks, or drops them with the old folder."""
        if trainer.state.fn != TrainerFn.FITTING:
            return
        states = checkpoint.get("callbacks", {})
        for callback in trainer.checkpoint_callbacks:
            state, folder = states.get(callback.state_key, {}), getattr(callback, "dirpath", None)
            if state.get("dirpath") == folder:
                continue
            if Path(state.get("best_model_path", "")).is_file():
                state["dirpath"] = folder
            else:  # its best checkpoint is gone, and Lightning would warn of the other folder
                states.pop(callback.state_key, None)


class BeginNextEpoch(pl.Callback):
    """Lets a run that stopped at the end of an epoch without a validation begin with the next one.

    Lightning takes an epoch that no validation has followed for unfinished where the length is
    given in steps, and would read one more batch in it.
    """

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]
    ) -> None:
        """Counts the epoch as completed."""
        loops = checkpoint.get("loops", {}).get("fit_loop", {})
        epochs, batches = loops.get("epoch_progress"), loops.get("epoch_loop.batch_progress")
        if trainer.state.fn != TrainerFn.FITTING or not epochs or not batches:
            return
        current = epochs["current"]
        is_at_end = current["completed"] < current["processed"] == current["started"]
        if is_at_end and not _ends_with_validation(trainer, epochs, batches):
            for counts in (current, epochs["total"]):
                counts["completed"] = counts["processed"]
            batches["current"] = dict.fromkeys(batches["current"], 0)
            batches["is_last_batch"] = False


def _ends_with_validation(
    trainer: pl.Trainer, epochs: Mapping[str, Any], batches: Mapping[str, Any]
) -> bool:
    """Whether the epoch that a checkpoint is the end of is one that a validation follows.

    Args:
        trainer: The trainer that goes on.
        epochs: Lightning's counts of epochs in the checkpoint.
        batches: Its counts of batches, of the epoch and in all.
    """
    if trainer.limit_val_batches == 0:
        return False
    every, interval = trainer.check_val_every_n_epoch, trainer.val_check_interval
    if every is not None and epochs["total"]["processed"] % every:
        return False
    if isinstance(interval, float):
        interval = max(1, int(interval * batches["current"]["ready"]))
    if not isinstance(interval, int):
        return True  # by time, which is not known
    return bool(batches["total" if every is None else "current"]["ready"] % interval == 0)


class MatchLoggedSteps(pl.Callback):
    """Has a resumed run log under the numbers that its steps have."""

    def __init__(self) -> None:
        self._is_set = False

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Sets the count before the first step."""
        if not self._is_set:
            set_logged_step(trainer, trainer.global_step)
            self._is_set = True
