"""Builds the Lightning Trainer of a run, with its callbacks and loggers and those of `trainer`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.io import CheckpointIO

from ..config.by_name import described_by_key
from ..config.check import named_loaders
from ..config.headline import Headline
from ..config.instantiate import instantiate, plain
from ..config.length import RunLength
from ..config.tags import tags_of
from ..config.targets import foreign_problem
from ..devices import Devices
from ..errors import ConfigError, ConfigProblem
from ..evaluation import Evaluation
from ..learners.checkpoints.saving import (
    AtomicCheckpointIO,
    BeginNextEpoch,
    CarryBestOver,
    MatchLoggedSteps,
)
from ..learners.nonfinite import NonFiniteLosses
from ..models.weights import read_metadata
from ..report import ProgressBar, TensorBoardImages, metrics_loggers
from .checkpoints import add_checkpoints
from .frozen_features import FrozenFeatures
from .signal_handlers import KeepSignalHandlers


def build_trainer_section(config: DictConfig) -> dict[str, Any]:
    """Builds the objects that the section `trainer` describes, before the run has a folder.

    Args:
        config: A composed config.

    Returns:
        The section with objects for `callbacks`, `logger`, `plugins` and, where it is no name,
        `strategy`; callbacks and plugins are lists.

    Raises:
        ConfigError: If a callback, logger, plugin or strategy cannot be built.
    """
    section: dict[str, Any] = plain(config.trainer) or {}
    if "strategy" in section:
        section["strategy"] = instantiate(section["strategy"], key="trainer.strategy")
    for name in ("callbacks", "plugins"):
        section[name] = list(_build_described(section.get(name), f"trainer.{name}").values())
    section["logger"] = _build_loggers(section.get("logger"))
    if problems := _callback_problems(config, section["callbacks"]):
        raise ConfigError(problems)
    if not any(isinstance(plugin, CheckpointIO) for plugin in section["plugins"]):
        section["plugins"].append(AtomicCheckpointIO())
    return section


def build_trainer(
    config: DictConfig,
    section: Mapping[str, Any],
    devices: Devices,
    evaluation: Evaluation,
    length: RunLength,
    folder: Path,
    headline: Headline,
) -> pl.Trainer:
    """Builds the Trainer of a run.

    Args:
        config: A composed config.
        section: The section `trainer`, built; it takes precedence over the defaults here.
        devices: Where the run computes.
        evaluation: What is measured.
        length: How long the run is.
        folder: The run's folder.
        headline: The figure that the run is judged by.

    Raises:
        ConfigError: If a Trainer does not take these settings.
    """
    run = config.run
    callbacks = [
        KeepSignalHandlers(),
        FrozenFeatures(run),
        ProgressBar(headline=headline),
        evaluation,
        TensorBoardImages(),
        CarryBestOver(),
        BeginNextEpoch(),
        NonFiniteLosses(run.on_nonfinite),
        MatchLoggedSteps(),
        *add_checkpoints(section["callbacks"], config, length, folder, headline),
    ]
    settings = {
        "max_epochs": -1 if run.num_epochs is None else run.num_epochs,
        "max_steps": -1 if run.num_iterations is None else run.num_iterations,
        "default_root_dir": str(folder),
        "enable_model_summary": False,
        "use_distributed_sampler": False,  # the data module's samplers know about processes
        "log_every_n_steps": _log_interval(length.steps or 3000),
        "limit_val_batches": 1.0 if _is_validated(config) else 0,  # Lightning warns of no loaders
        **devices.trainer_settings(),
        **section,
        "logger": _own_loggers(run, folder) if section["logger"] is None else section["logger"],
        "callbacks": callbacks,
    }
    target = {"_target_": "pytorch_lightning.Trainer"}
    trainer: pl.Trainer = instantiate(target, key="trainer", **settings)
    return trainer


def _own_loggers(run: DictConfig, folder: Path) -> list[Logger]:
    """The loggers of a run without any in its config; one that goes on in its folder adds to it."""
    path = run.resume_from_checkpoint
    goes_on = path is not None and Path(path).is_relative_to(folder)
    from_step = read_metadata(path)["global_step"] if goes_on else None
    return metrics_loggers(folder, from_step=from_step, tags=tags_of(run))


def callback_keys(config: DictConfig) -> list[str]:
    """The config keys of the callbacks of the section `trainer`, in their order.

    Args:
        config: A composed config.
    """
    section: dict[str, Any] = plain(config.trainer) or {}
    return list(described_by_key(section.get("callbacks"), "trainer.callbacks"))


def _build_described(value: Any, key: str) -> dict[str, Any]:
    """Builds every object that a setting describes, by its config key."""
    described = described_by_key(value, key)
    return {name: instantiate(entry, key=name) for name, entry in described.items()}


def _build_loggers(value: Any) -> Any:
    """Builds the loggers; true, false and null mean what they mean to a Trainer."""
    if value is None or isinstance(value, bool):
        return value
    return list(_build_described(value, "trainer.logger").values())


def _callback_problems(config: DictConfig, callbacks: list[Any]) -> list[ConfigProblem]:
    expected = "is no Lightning callback; needs the _target_ of one"
    return [
        ConfigProblem(key, callback, foreign_problem(type(callback)) or expected)
        for key, callback in zip(callback_keys(config), callbacks, strict=True)
        if not isinstance(callback, pl.Callback)
    ]


def _log_interval(max_steps: int) -> int:
    """Logs a short run ten times, a long one every 50 steps: logging costs milliseconds."""
    return max(1, min(10, max_steps // 10), min(50, max_steps // 60))


def _is_validated(config: DictConfig) -> bool:
    return any(key == "data.val" for key, _ in named_loaders(config.data))
