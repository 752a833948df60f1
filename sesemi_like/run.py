"""From a config to objects to a mode: builds a run, and fits, validates or tests it."""

from __future__ import annotations

import logging
import os
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from .config.instantiate import instantiate, plain
from .config.resolvers import AppAttributes, app_attributes
from .data import DataModule
from .devices import Devices, choose_devices
from .errors import ConfigError, ConfigProblem, Problems
from .evaluation import Evaluation, default_evaluators
from .files import write_atomically
from .learners import Learner
from .learners.checkpoints import load_weights
from .report import (
    ProgressBar,
    TensorBoardPictures,
    make_run_folder,
    metrics_loggers,
    print_summary,
    write_summary,
)

_RUN_FOLDER = "SESEMI_LIKE_RUN_FOLDER"
"""Tells the processes that Lightning launches which folder the first one has made."""

log = logging.getLogger(__name__)


@dataclass
class Prepared:
    """What a config describes, built and checked; nothing is written yet.

    Attributes:
        config: The composed config.
        seed: The run's seed, drawn when the config gives none.
        devices: Where the run computes.
        attributes: What ``${app:...}`` answers.
        data: The named data loaders.
        learner: What learns.
        evaluation: What is measured.
    """

    config: DictConfig
    seed: int
    devices: Devices
    attributes: AppAttributes
    data: DataModule
    learner: Learner
    evaluation: Evaluation


def run(config: DictConfig, problems: Iterable[ConfigProblem] = ()) -> float | None:
    """Builds what a config describes and does what its mode says.

    Args:
        config: A composed config.
        problems: Mistakes found so far; they are told together with those found here.

    Returns:
        The headline figure: the best validation top-1, else the test's; None without either.

    Raises:
        ConfigError: If the run cannot work; raised before anything is written.
    """
    started = time.monotonic()
    prepared = prepare(config, problems)
    with app_attributes(prepared.attributes):
        trainer_settings = _trainer_settings(prepared)
        folder = _folder(config)
        try:
            trainer = _trainer(prepared, trainer_settings, folder)
        except ConfigError:
            folder.rmdir()  # it is still empty
            raise
        _write_inputs(prepared, folder)
        MODES[config.run.mode.name](prepared, trainer)
    return _finish(prepared, trainer, folder, time.monotonic() - started)


def prepare(config: DictConfig, problems: Iterable[ConfigProblem] = ()) -> Prepared:
    """Builds data, learner and evaluation, and checks that they fit each other.

    Args:
        config: A composed config.
        problems: Mistakes found so far; they are told together with those found here.

    Raises:
        ConfigError: With every mistake found.
    """
    found = Problems(problems)
    seed = choose_seed(config.run.seed)
    pl.seed_everything(seed, workers=True, verbose=False)
    devices = _devices(config, found)
    data = _data(config, devices, seed, found)
    attributes = run_attributes(config, data, devices)
    with app_attributes(attributes):
        learner = _learner(config, data, found)
        evaluation = _evaluation(config, found)
    found.raise_any()
    assert data is not None and learner is not None
    return Prepared(config, seed, devices, attributes, data, learner, evaluation)


def choose_seed(seed: int | None) -> int:
    """The run's seed; a drawn one is the same on every process of a launch."""
    if seed is not None:
        return seed
    if "LOCAL_RANK" in os.environ and (given := os.environ.get("PL_GLOBAL_SEED")):
        return int(given)
    launch = os.environ.get("TORCHELASTIC_RUN_ID") or os.environ.get("SLURM_JOB_ID")
    return zlib.crc32(launch.encode() if launch else os.urandom(4))


def run_attributes(config: DictConfig, data: DataModule | None, devices: Devices) -> AppAttributes:
    """What ``${app:...}`` answers in this run.

    Where the data could not be read the run is bound to fail; a length of one then lets the rest of
    the config be checked all the same.
    """
    per_epoch = data.iterations_per_epoch if data else 1
    if per_epoch is not None:
        settings = plain(config.trainer) or {}
        per_epoch = _limited(per_epoch, settings.get("limit_train_batches"))
        per_epoch = -(-per_epoch // settings.get("accumulate_grad_batches", 1))
    most = config.run.num_iterations
    if most is None and config.run.num_epochs is not None and per_epoch is not None:
        most = config.run.num_epochs * per_epoch
    return AppAttributes(per_epoch, most, devices.num_gpus, devices.num_nodes)


def _limited(batches: int, limit: float | int | None) -> int:
    if limit is None:
        return batches
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)


def _devices(config: DictConfig, found: Problems) -> Devices:
    with found.collected():
        if not found.under("run.gpus"):
            return choose_devices(config.run, plain(config.trainer) or {})
    return Devices("cpu", 1, "auto", 1)


def _data(config: DictConfig, devices: Devices, seed: int, found: Problems) -> DataModule | None:
    with found.collected():
        if not found.under("data", "run.batch_size_per_gpu"):
            data = DataModule(config.data, config.run, world_size=devices.world_size, seed=seed)
            found.found += _length_problems(config, data)
            return data
    return None


def _length_problems(config: DictConfig, data: DataModule) -> list[ConfigProblem]:
    problems = []
    is_open = data.iterations_per_epoch is None and config.run.num_iterations is None
    if config.run.mode.name == "FIT" and is_open:
        expected = "data of unknown length need run.num_iterations"
        problems.append(ConfigProblem("run.num_iterations", None, expected))
    classes = OmegaConf.select(config, "learner.hparams.num_classes", throw_on_missing=False)
    most = data.num_classes_found
    if isinstance(classes, int) and most is not None and most > classes:
        expected = f"the data have {most} classes" + (
            f": {', '.join(data.classes[:20])}" if data.classes else ""
        )
        problems.append(ConfigProblem("learner.hparams.num_classes", classes, expected))
    return problems


def _learner(config: DictConfig, data: DataModule | None, found: Problems) -> Learner | None:
    learner: Learner | None = None
    if found.under("learner"):
        return None
    with found.collected():
        settings = plain(config.learner)
        learner = instantiate(
            {"_target_": settings["_target_"], "_recursive_": False},
            hparams=settings["hparams"],
            key="learner",
        )
    is_fit = config.run.mode.name == "FIT"
    with found.collected():
        if learner is not None and is_fit:
            learner.configure_optimizers()  # tells a wrong optimizer or schedule now
    with found.collected():
        if learner is not None and data is not None and is_fit:
            data.keep(learner.make_plan(data.fields).fields)
    with found.collected():
        path = config.run.pretrained_checkpoint_path
        if learner is not None and path and not found.under("run.pretrained_checkpoint_path"):
            load_weights(learner, path, key="run.pretrained_checkpoint_path")
    return learner


def _evaluation(config: DictConfig, found: Problems) -> Evaluation:
    evaluators = {}
    for name, evaluator in (plain(config.run.evaluators) or {}).items():
        with found.collected():
            evaluators[name] = instantiate(evaluator, key=f"run.evaluators.{name}")
    return Evaluation(evaluators or default_evaluators())


def _folder(config: DictConfig) -> Path:
    """Makes the run's folder on the first process; the others are told or need none."""
    if rank_zero_only.rank != 0:  # type: ignore[attr-defined]
        return Path(os.environ.get(_RUN_FOLDER, Path(config.run.dir) / config.run.id))
    folder = make_run_folder(config.run.dir, config.run.id)
    os.environ[_RUN_FOLDER] = str(folder)
    return folder


def _trainer_settings(prepared: Prepared) -> dict[str, Any]:
    """Builds what the section `trainer` describes, before there is a folder to leave behind."""
    given: dict[str, Any] = plain(prepared.config.trainer) or {}
    for name in ("callbacks", "logger"):
        given[name] = instantiate(given.get(name), key=f"trainer.{name}")
    return given


def _trainer(prepared: Prepared, given: dict[str, Any], folder: Path) -> pl.Trainer:
    run = prepared.config.run
    callbacks = [
        ProgressBar(),
        prepared.evaluation,
        TensorBoardPictures(),
        *_with_checkpoints(given["callbacks"] or [], prepared.config, folder),
    ]
    settings = {
        "max_epochs": -1 if run.num_epochs is None else run.num_epochs,
        "max_steps": -1 if run.num_iterations is None else run.num_iterations,
        "default_root_dir": str(folder),
        "enable_model_summary": False,
        "use_distributed_sampler": False,  # the data module's samplers know about processes
        "log_every_n_steps": 10,
        **prepared.devices.trainer_settings(),
        **given,
        "logger": metrics_loggers(folder) if given["logger"] is None else given["logger"],
        "callbacks": callbacks,
    }
    target = {"_target_": "pytorch_lightning.Trainer"}
    trainer: pl.Trainer = instantiate(target, key="trainer", **settings)
    return trainer


def _with_checkpoints(callbacks: list[Any], config: DictConfig, folder: Path) -> list[pl.Callback]:
    """Puts checkpoints into the run's folder; keeps the best and the last unless told otherwise."""
    chosen = [c for c in callbacks if isinstance(c, ModelCheckpoint)]
    if not chosen:
        best: dict[str, Any] = {"monitor": "val/top1", "mode": "max"} if config.data.val else {}
        chosen = [ModelCheckpoint(save_top_k=1, save_last=True, **best)]
        callbacks = [*callbacks, *chosen]
    for checkpoint in chosen:
        checkpoint.dirpath = checkpoint.dirpath or str(folder / "checkpoints")
    return callbacks


@rank_zero_only
def _write_inputs(prepared: Prepared, folder: Path) -> None:
    resolved = OmegaConf.create(plain(prepared.config))
    resolved.run.seed = prepared.seed
    write_atomically(folder / "config.yaml", OmegaConf.to_yaml(resolved))
    prepared.data.write_label_list(folder / "labels.csv")


def _fit(prepared: Prepared, trainer: pl.Trainer) -> None:
    learner, data, run = prepared.learner, prepared.data, prepared.config.run
    trainer.fit(learner, datamodule=data, ckpt_path=run.resume_from_checkpoint, weights_only=True)
    if prepared.config.data.test:
        best = best_checkpoint(trainer)
        trainer.test(learner, datamodule=data, ckpt_path=best, verbose=False, weights_only=True)


def _validate(prepared: Prepared, trainer: pl.Trainer) -> None:
    trainer.validate(prepared.learner, **_evaluation_arguments(prepared))


def _test(prepared: Prepared, trainer: pl.Trainer) -> None:
    trainer.test(prepared.learner, **_evaluation_arguments(prepared))


def _evaluation_arguments(prepared: Prepared) -> dict[str, Any]:
    run = prepared.config.run
    if run.resume_from_checkpoint is None and run.pretrained_checkpoint_path is None:
        log.warning("run.pretrained_checkpoint_path is null: the learner has random weights")
    return {
        "datamodule": prepared.data,
        "ckpt_path": run.resume_from_checkpoint,
        "verbose": False,
        "weights_only": True,
    }


MODES: dict[str, Callable[[Prepared, pl.Trainer], None]] = {
    "FIT": _fit,
    "VALIDATE": _validate,
    "TEST": _test,
}
"""What each `run.mode` does."""


def best_checkpoint(trainer: pl.Trainer) -> str | None:
    """The checkpoint with the best monitored value, or None where none is monitored."""
    callback = trainer.checkpoint_callback
    if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_path:
        return callback.best_model_path
    return None


def _finish(prepared: Prepared, trainer: pl.Trainer, folder: Path, seconds: float) -> float | None:
    """Writes and shows what came of the run; returns the headline figure."""
    values = {**trainer.callback_metrics, **prepared.evaluation.last}
    metrics = {n: float(v) for n, v in values.items() if torch.as_tensor(v).ndim == 0}
    callback = trainer.checkpoint_callback
    best = getattr(callback, "best_model_score", None) if best_checkpoint(trainer) else None
    headline = metrics.get("test/top1", metrics.get("val/top1")) if best is None else float(best)
    content = {
        "status": "finished",
        "mode": prepared.config.run.mode.name,
        "id": prepared.config.run.id,
        "seed": prepared.seed,
        "steps": trainer.global_step,
        "epochs": trainer.current_epoch,
        "seconds": round(seconds, 2),
        "headline": headline,
        "best": {"score": None if best is None else float(best), "path": best_checkpoint(trainer)},
        "metrics": metrics,
        "devices": f"{prepared.devices.world_size} x {prepared.devices.accelerator}",
        "folder": str(folder),
    }
    if trainer.is_global_zero:
        write_summary(folder / "summary.json", content)
        matrices = [prepared.evaluation.last.get(f"{s}/confusion") for s in ("test", "val")]
        found = [matrix.numpy() for matrix in matrices if isinstance(matrix, Tensor)]
        print_summary(content, found[0] if found else None, prepared.data.classes)
    return headline
