"""Which checkpoints a run keeps, and which of them is its best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.callbacks import ModelCheckpoint

from ..config.by_name import described_by_key
from ..config.check import named_loaders
from ..config.headline import Headline
from ..config.instantiate import plain
from ..config.intervals import parse_interval
from ..config.length import RunLength
from ..learners.checkpoints.saving import LastCheckpoint
from .validation import epochs_between


def add_checkpoints(
    callbacks: Sequence[pl.Callback],
    config: DictConfig,
    length: RunLength,
    folder: Path,
    headline: Headline,
) -> list[pl.Callback]:
    """Adds the callbacks that keep the best and the last checkpoint, unless the config has its own.

    All of them write to the run's folder, unless the config gives another.

    Args:
        callbacks: The callbacks of the section `trainer`.
        config: A composed config.
        length: How long the run is.
        folder: The run's folder.
        headline: What the best checkpoint is chosen by.
    """
    own = [callback for callback in callbacks if isinstance(callback, ModelCheckpoint)]
    is_validated = any(key == "data.val" for key, _ in named_loaders(config.data))
    interval = config.run.checkpoint_every
    keeps_last = not own or interval is not None or any(checkpoint.save_last for checkpoint in own)
    best = [ModelCheckpoint(save_top_k=1, monitor=headline.name, mode=headline.direction)]
    added = best if is_validated and not own else []
    checkpoints = [*own, *added]
    for checkpoint in checkpoints:
        checkpoint.dirpath = checkpoint.dirpath or str(folder / "checkpoints")
    last_folder = next((c.dirpath for c in own if c.save_last), folder / "checkpoints")
    for checkpoint in checkpoints:
        checkpoint.save_last = None
    if not keeps_last:
        return list(callbacks)
    if not _chooses_contents(config):
        for checkpoint in checkpoints:  # what training needs to be resumed is in the last one
            checkpoint.save_weights_only |= checkpoint.monitor is not None
    # After the others, so that it knows which checkpoint is the best by now.
    every = 1 if is_validated else epochs_between(length)
    last = LastCheckpoint(str(last_folder), every, interval and parse_interval(interval))
    return [*callbacks, *added, last]


def _chooses_contents(config: DictConfig) -> bool:
    """Whether the config itself says if checkpoints hold weights alone."""
    section: dict[str, Any] = plain(config.trainer) or {}
    described = described_by_key(section.get("callbacks"), "trainer.callbacks")
    return any("save_weights_only" in callback for callback in described.values())


@dataclass(frozen=True)
class BestCheckpoint:
    """The best checkpoint of a run.

    Attributes:
        monitor: The metric it is the best by.
        score: That metric's value.
        path: The file.
    """

    monitor: str
    score: float
    path: str


def best_checkpoint(trainer: pl.Trainer) -> BestCheckpoint | None:
    """Finds the best checkpoint of a run.

    Args:
        trainer: The Trainer that ran it.

    Returns:
        The checkpoint, or None where none is monitored.
    """
    checkpoint = trainer.checkpoint_callback
    if not isinstance(checkpoint, ModelCheckpoint) or not checkpoint.monitor:
        return None
    score, path = checkpoint.best_model_score, checkpoint.best_model_path
    if not path or score is None:  # without a score it monitors what was never measured here
        return None
    return BestCheckpoint(checkpoint.monitor, float(score), path)
