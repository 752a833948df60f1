"""The Lightning Trainer of a run: its callbacks and loggers, and what `trainer` adds to them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import CheckpointIO

from ..config.check import named_loaders
from ..config.instantiate import instantiate, plain
from ..config.length import RunLength
from ..devices import Devices
from ..errors import ConfigError, ConfigProblem
from ..evaluation import Evaluation
from ..learners.checkpoints.saving import (
    AtomicCheckpointIO,
    CarryBestOver,
    LastCheckpoint,
    MatchLoggedSteps,
)
from ..learners.nonfinite import NonFiniteLosses
from ..report import ProgressBar, TensorBoardImages, metrics_loggers
from .signal_handlers import KeepSignalHandlers
from .validation import epochs_between


def build_trainer_section(config: DictConfig) -> dict[str, Any]:
    """Builds what the section `trainer` describes, before there is a folder to leave behind.

    Args:
        config: A composed config.

    Raises:
        ConfigError: If a callback, logger or plugin cannot be built.
    """
    given: dict[str, Any] = plain(config.trainer) or {}
    for name in ("callbacks", "logger", "plugins"):
        given[name] = instantiate(given.get(name), key=f"trainer.{name}")
    for name in ("callbacks", "plugins"):
        several = given[name] or []
        given[name] = several if isinstance(several, list) else [several]
    if problems := _callback_problems(given["callbacks"]):
        raise ConfigError(problems)
    if not any(isinstance(plugin, CheckpointIO) for plugin in given["plugins"]):
        given["plugins"].append(AtomicCheckpointIO())
    return given


def build_trainer(
    config: DictConfig,
    given: Mapping[str, Any],
    devices: Devices,
    evaluation: Evaluation,
    length: RunLength,
    folder: Path,
) -> pl.Trainer:
    """Builds the Trainer of a run.

    Args:
        config: A composed config.
        given: The section `trainer`, built; it takes precedence over the defaults here.
        devices: Where the run computes.
        evaluation: What is measured.
        length: How long the run is.
        folder: The run's folder.

    Raises:
        ConfigError: If a Trainer does not take these settings.
    """
    run = config.run
    callbacks = [
        KeepSignalHandlers(),
        ProgressBar(),
        evaluation,
        TensorBoardImages(),
        CarryBestOver(),
        NonFiniteLosses(run.on_nonfinite),
        MatchLoggedSteps(),
        *_with_checkpoints(given["callbacks"], config, length, folder),
    ]
    settings = {
        "max_epochs": -1 if run.num_epochs is None else run.num_epochs,
        "max_steps": -1 if run.num_iterations is None else run.num_iterations,
        "default_root_dir": str(folder),
        "enable_model_summary": False,
        "use_distributed_sampler": False,  # the data module's samplers know about processes
        "log_every_n_steps": _log_interval(length.steps or 3000),
        **devices.trainer_settings(),
        **given,
        "logger": metrics_loggers(folder) if given["logger"] is None else given["logger"],
        "callbacks": callbacks,
    }
    target = {"_target_": "pytorch_lightning.Trainer"}
    trainer: pl.Trainer = instantiate(target, key="trainer", **settings)
    return trainer


def _callback_problems(callbacks: list[Any]) -> list[ConfigProblem]:
    expected = "is no Lightning callback; needs the _target_ of one"
    return [
        ConfigProblem(f"trainer.callbacks.{number}", callback, expected)
        for number, callback in enumerate(callbacks)
        if not isinstance(callback, pl.Callback)
    ]


def _log_interval(iterations: int) -> int:
    """A short run is logged ten times, a long one every 50 steps: logging costs milliseconds."""
    return max(1, min(10, iterations // 10), min(50, iterations // 60))


def _with_checkpoints(
    callbacks: list[Any], config: DictConfig, length: RunLength, folder: Path
) -> list[pl.Callback]:
    """Puts checkpoints into the run's folder; keeps the best and the last unless told otherwise."""
    chosen = [c for c in callbacks if isinstance(c, ModelCheckpoint)]
    is_validated = any(key == "data.val" for key, _ in named_loaders(config.data))
    is_kept = not chosen or any(c.save_last for c in chosen)
    if not chosen and is_validated:
        chosen = [ModelCheckpoint(save_top_k=1, monitor="val/top1", mode="max")]
        callbacks = [*callbacks, *chosen]
    for checkpoint in chosen:
        checkpoint.dirpath = checkpoint.dirpath or str(folder / "checkpoints")
    place = next((c.dirpath for c in chosen if c.save_last), folder / "checkpoints")
    for checkpoint in chosen:
        checkpoint.save_last = None
    if not is_kept:
        return callbacks
    if not _says_what_is_saved(config):
        for checkpoint in chosen:  # what training needs to go on is in the last one
            checkpoint.save_weights_only |= checkpoint.monitor is not None
    # After the others, so that it knows which checkpoint is the best by now.
    every = 1 if is_validated else epochs_between(length)
    return [*callbacks, LastCheckpoint(str(place), every_n_epochs=every)]


def _says_what_is_saved(config: DictConfig) -> bool:
    callbacks = (plain(config.trainer) or {}).get("callbacks") or []
    several = callbacks if isinstance(callbacks, list) else [callbacks]
    return any("save_weights_only" in callback for callback in several)
