"""The best checkpoint of a run."""

from __future__ import annotations

from dataclasses import dataclass

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint


@dataclass(frozen=True)
class Best:
    """The best checkpoint of a run.

    Attributes:
        monitor: The metric it is the best by.
        score: That metric's value.
        path: The file.
    """

    monitor: str
    score: float
    path: str


def best_checkpoint(trainer: pl.Trainer) -> Best | None:
    """The best checkpoint, or None where none is monitored."""
    checkpoint = trainer.checkpoint_callback
    if not isinstance(checkpoint, ModelCheckpoint) or not checkpoint.monitor:
        return None
    score, path = checkpoint.best_model_score, checkpoint.best_model_path
    if not path or score is None:  # without a score it monitors what was never measured here
        return None
    return Best(checkpoint.monitor, float(score), path)
