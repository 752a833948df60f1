"""From a config to objects to a mode: builds a run, and fits, validates or tests it."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.utilities import rank_zero_only

from .config.instantiate import instantiate, plain
from .config.resolvers import AppAttributes, app_attributes
from .data import DataModule
from .devices import Devices, choose_devices
from .errors import ConfigProblem, Problems
from .evaluation import Evaluation, default_evaluators
from .learners import Learner
from .learners.checkpoints import load_weights
from .report import (
    ProgressBar,
    TensorBoardPictures,
    make_run_folder,
    metrics_loggers,
    print_summary,
    write_atomically,
    write_summary,
)

_RUN_FOLDER = "SESEMI_LIKE_RUN_FOLDER"
"""Tells the processes that Lightning launches which folder the first one has made."""


@dataclass
class Built:
    """Everything a mode works with."""

    config: DictConfig
    seed: int
    data: DataModule
    learner: Learner
    evaluation: Evaluation
    trainer: pl.Trainer
    folder: Path
    started: float = field(default_factory=time.monotonic)


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
        assert data is not None and learner is not None and evaluation is not None
        folder = _folder(config)
        trainer = _trainer(config, devices, evaluation, folder, attributes)
        built = Built(config, seed, data, learner, evaluation, trainer, folder)
        _write_inputs(built)
        MODES[config.run.mode.name](built)
        return _finish(built)


def choose_seed(seed: int | None) -> int:
    """The run's seed; a drawn one is the same on every process of a launch."""
    if seed is not None:
        return seed
    if "LOCAL_RANK" in os.environ and (given := os.environ.get("PL_GLOBAL_SEED")):
        return int(given)
    launch = os.environ.get("TORCHELASTIC_RUN_ID") or os.environ.get("SLURM_JOB_ID")
    return zlib.crc32(launch.encode() if launch else os.urandom(4))


def run_attributes(
    config: DictConfig, data: DataModule | None, devices: Devices
) -> AppAttributes:
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


def _data(
    config: DictConfig, devices: Devices, seed: int, found: Problems
) -> DataModule | None:
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
    learner = None
    if found.under("learner"):
        return None
    with found.collected():
        settings = plain(config.learner)
        learner = instantiate(
            {"_target_": settings["_target_"], "_recursive_": False},
            hparams=settings["hparams"],
            key="learner",
        )
        learner.configure_optimizers()  # tells a wrong optimizer or schedule now
    with found.collected():
        if learner is not None and data is not None and config.run.mode.name == "FIT":
            data.keep(learner.make_plan(data.fields).fields)
    with found.collected():
        path = config.run.pretrained_checkpoint_path
        if learner is not None and path and not found.under("run.pretrained_checkpoint_path"):
            load_weights(learner, path, key="run.pretrained_checkpoint_path")
    return learner


def _evaluation(config: DictConfig, found: Problems) -> Evaluation | None:
    evaluators = {}
    for name, evaluator in (plain(config.run.evaluators) or {}).items():
        with found.collected():
            evaluators[name] = instantiate(evaluator, key=f"run.evaluators.{name}")
    return Evaluation(evaluators or default_evaluators())


def _folder(config: DictConfig) -> Path:
    """Makes the run's folder on the first process; the others are told or need none."""
    if rank_zero_only.rank != 0 or "LOCAL_RANK" in os.environ:
        return Path(os.environ.get(_RUN_FOLDER, Path(config.run.dir) / config.run.id))
    folder = make_run_folder(config.run.dir, config.run.id)
    os.environ[_RUN_FOLDER] = str(folder)
    return folder


def _trainer(
    config: DictConfig,
    devices: Devices,
    evaluation: Evaluation,
    folder: Path,
    attributes: AppAttributes,
) -> pl.Trainer:
    given = plain(config.trainer) or {}
    callbacks = instantiate(given.pop("callbacks", None) or [], key="trainer.callbacks")
    loggers = instantiate(given.pop("logger", None), key="trainer.logger")
    epochs, iterations = config.run.num_epochs, config.run.num_iterations
    settings = {
        "max_epochs": -1 if epochs is None else epochs,
        "max_steps": -1 if iterations is None else iterations,
        "default_root_dir": str(folder),
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "log_every_n_steps": 10,
        **devices.trainer_settings(),
        **given,
        "logger": metrics_loggers(folder) if loggers is None else loggers,
        "callbacks": [
            ProgressBar(),
            evaluation,
            TensorBoardPictures(),
            *_with_checkpoints(callbacks, config, folder),
        ],
    }
    trainer: pl.Trainer = instantiate(
        {"_target_": "pytorch_lightning.Trainer"}, key="trainer", **settings
    )
    return trainer


def _with_checkpoints(
    callbacks: list[Any], config: DictConfig, folder: Path
) -> list[pl.Callback]:
    """Puts checkpoints into the run's folder; keeps the best and the last unless told otherwise."""
    chosen = [c for c in callbacks if isinstance(c, ModelCheckpoint)]
    if not chosen:
        best = {"monitor": "val/top1", "mode": "max"} if config.data.val else {}
        chosen = [ModelCheckpoint(save_top_k=1, save_last=True, **best)]  # type: ignore[arg-type]
        callbacks = [*callbacks, *chosen]
    for checkpoint in chosen:
        checkpoint.dirpath = checkpoint.dirpath or str(folder / "checkpoints")
    return callbacks


@rank_zero_only
def _write_inputs(built: Built) -> None:
    write_atomically(built.folder / "config.yaml", OmegaConf.to_yaml(built.config, resolve=True))
    built.data.write_label_list(built.folder / "labels.csv")


def _fit(built: Built) -> None:
    resume = built.config.run.resume_from_checkpoint
    built.trainer.fit(built.learner, datamodule=built.data, ckpt_path=resume, weights_only=True)
    if built.config.data.test:
        best = best_checkpoint(built.trainer)
        built.trainer.test(
            built.learner, datamodule=built.data, ckpt_path=best, verbose=False, weights_only=True
        )


def best_checkpoint(trainer: pl.Trainer) -> str | None:
    """The checkpoint with the best monitored value, or None where none is monitored."""
    callback = trainer.checkpoint_callback
    if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_path:
        return callback.best_model_path
    return None


def _validate(built: Built) -> None:
    resume = built.config.run.resume_from_checkpoint
    built.trainer.validate(
        built.learner, datamodule=built.data, ckpt_path=resume, verbose=False, weights_only=True
    )


def _test(built: Built) -> None:
    resume = built.config.run.resume_from_checkpoint
    built.trainer.test(
        built.learner, datamodule=built.data, ckpt_path=resume, verbose=False, weights_only=True
    )


MODES: dict[str, Callable[[Built], None]] = {"FIT": _fit, "VALIDATE": _validate, "TEST": _test}
"""What each `run.mode` does."""
