"""Checkpoints written: whole or not at all, the last one and the best one of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.trainer.states import TrainerFn

from ...files import replacing


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


class LastCheckpoint(ModelCheckpoint):
    """Keeps the weights of the newest validation, and of the end, as ``last.ckpt``.

    Lightning's own `save_last` saves only along with a checkpoint that was chosen, and nothing
    after the last validation.

    Args:
        dirpath: The folder.
        every_n_epochs: Epochs from one to the next where nothing is validated.
    """

    def __init__(self, dirpath: str, every_n_epochs: int = 1) -> None:
        super().__init__(
            dirpath,
            filename="last",
            save_top_k=1,
            every_n_epochs=every_n_epochs,
            enable_version_counter=False,
        )
        self._is_due = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves, but leaves the end of an epoch to :meth:`on_train_epoch_end`.

        From a checkpoint of before that, the batches of this epoch would be read again.
        """
        self._is_due = trainer.is_last_batch and not trainer.sanity_checking
        if not self._is_due:
            super().on_validation_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves where Lightning would, and when training ends with steps that are not saved yet."""
        super().on_train_epoch_end(trainer, pl_module)
        is_due, self._is_due = self._is_due or _is_over(trainer), False
        if is_due and not self._should_skip_saving_checkpoint(trainer):
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))


def _is_over(trainer: pl.Trainer) -> bool:
    """Whether this is the last epoch; `done` of Lightning's loop changes what would be saved."""
    progress: Any = trainer.fit_loop.epoch_progress.current
    epochs = progress.processed
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
        """Rewrites the folder in the state of callbacks whose best checkpoint still exists."""
        if trainer.state.fn != TrainerFn.FITTING:
            return
        states = checkpoint.get("callbacks", {})
        for callback in trainer.checkpoint_callbacks:
            state = states.get(callback.state_key, {})
            if "dirpath" in state and Path(state.get("best_model_path", "")).is_file():
                state["dirpath"] = getattr(callback, "dirpath", None)


class StepsGoOn(pl.Callback):
    """Has a resumed run log under the numbers that its steps have.

    Lightning counts steps for loggers apart, and one too many after a checkpoint that was written
    at the end of an epoch.
    """

    def __init__(self) -> None:
        self._is_set = False

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Sets the count before the first step."""
        if not self._is_set:
            trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step
            self._is_set = True
