"""From a config to objects to a mode: builds a run, and fits, validates or tests it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from ..config.command_line import choices
from ..config.from_run import COMPOSED, composed_text
from ..config.instantiate import instantiate, plain
from ..config.length import RunLength, run_length
from ..config.modes import Mode, find_mode
from ..config.resolvers import AppAttributes, app_attributes
from ..data import DataModule
from ..data.checks.facts import facts_of, inputs_of
from ..data.checks.images import odd_images
from ..data.counts import sample_counts, unreadable_counts
from ..data.loading.names import TRAIN, display_name
from ..devices import Devices, choose_devices, tune_process
from ..errors import ConfigError, ConfigProblem, Problems, suggest
from ..evaluation import Evaluation, Evaluator, default_evaluators
from ..files import RUN_FOLDER, write_atomically
from ..learners import Learner
from ..learners.checkpoints.resuming import check_resuming
from ..learners.checkpoints.starting import build_learner, load_start
from ..learners.required_fields import draft_learner, required_fields
from ..report import make_run_folder, print_opening, quiet_libraries
from ..report.tasks import show_progress
from ..trainer.build import build_trainer, trainer_settings
from ..trainer.validation import interval_problems, validation_settings
from .launch import choose_seed
from .modes import MODES
from .monitors import monitor_problems, told_by_key
from .prepared import Prepared
from .summary import report, summarize

_WEIGHTS_KEYS = ("run.resume_from_checkpoint", "run.pretrained_checkpoint_path")

log = logging.getLogger(__name__)


def run(config: DictConfig, problems: Iterable[ConfigProblem] = ()) -> dict[str, Any]:
    """Builds what a config describes and does what its mode says.

    Args:
        config: A composed config.
        problems: Mistakes found so far; they are reported together with those found here.

    Returns:
        What ``summary.json`` holds. Its ``headline`` is the best validation top-1, else the last
        one, else the test's; None where nothing was measured. A sweep may choose by it.

    Raises:
        ConfigError: If the run cannot work; raised before anything is written.
    """
    started = time.monotonic()
    quiet_libraries()
    tune_process()
    prepared = prepare(config, problems)
    with app_attributes(prepared.attributes):
        given = _trainer_settings(prepared)
        folder = _folder(config)
        try:
            length = _length(config, prepared.data)
            devices, evaluation = prepared.devices, prepared.evaluation
            trainer = build_trainer(config, given, devices, evaluation, length, folder)
        except ConfigError:
            _remove(folder)
            raise
        _write_inputs(prepared, folder)
        _announce(prepared)
        _warn_of_random_weights(prepared)
        with told_by_key():
            training = prepared.mode.carry_out(prepared, trainer)
    seconds = time.monotonic() - started
    content = summarize(prepared, trainer, folder, training=training, seconds=seconds)
    if trainer.is_global_zero:
        report(content, prepared, folder)
    return content


def prepare(config: DictConfig, problems: Iterable[ConfigProblem] = ()) -> Prepared:
    """Builds data, learner and evaluation, and checks that they fit each other.

    Args:
        config: A composed config.
        problems: Mistakes found so far; they are reported together with those found here.

    Raises:
        ConfigError: With every mistake found.
    """
    found = Problems(problems)
    mode = _mode(config, found)
    seed = _seed(config, mode, found)
    pl.seed_everything(seed, workers=True, verbose=False)
    devices = _devices(config, found)
    data = _data(config, mode, devices, seed, found)
    attributes = run_attributes(config, data, devices)
    # Again, so that weights do not depend on what random transforms drew in a look at the data.
    pl.seed_everything(seed, workers=True, verbose=False)
    with app_attributes(attributes):
        learner = _learner(config, mode, data, attributes.max_iterations, found)
        evaluation = _evaluation(config, data, found)
    found.raise_if_any()
    assert data is not None and learner is not None
    data.decode(show_progress)
    return Prepared(config, mode, seed, devices, attributes, data, learner, evaluation)


def _trainer_settings(prepared: Prepared) -> dict[str, Any]:
    """What the section `trainer` says, and how often to validate."""
    config = prepared.config
    given = trainer_settings(config)
    if not prepared.mode.trains:
        return given
    if problems := monitor_problems(prepared, given["callbacks"]):
        raise ConfigError(problems)
    return {**given, **_validation_settings(config, prepared.data)}


def _validation_settings(config: DictConfig, data: DataModule) -> dict[str, Any]:
    if "val" not in data.datasets:
        return {}
    trainer = plain(config.trainer) or {}
    watches = OmegaConf.select(config, "learner.hparams.lr_scheduler.monitor")
    every, length = config.run.validate_every, _length(config, data)
    return validation_settings(every, trainer, length, watches=watches)


def _length(config: DictConfig, data: DataModule | None) -> RunLength:
    batches = data.iterations_per_epoch if data else 1
    return run_length(config.run, plain(config.trainer) or {}, batches)


def _mode(config: DictConfig, found: Problems) -> Mode:
    """The run's mode, without which nothing else can be checked."""
    with found.collecting():
        return find_mode(config, MODES)
    raise ConfigError(found.problems)


def _seed(config: DictConfig, mode: Mode, found: Problems) -> int:
    run = config.run
    with found.collecting():
        if not found.under("run.seed", "run.num_nodes"):
            resumed = run.resume_from_checkpoint if mode.trains else None
            return choose_seed(run.seed, resumed=resumed, num_nodes=run.num_nodes)
    return 0  # the run is bound to fail


def run_attributes(config: DictConfig, data: DataModule | None, devices: Devices) -> AppAttributes:
    """What ``${app:...}`` returns in this run.

    Where the data could not be read the run is bound to fail; a length of one then lets the rest of
    the config be checked all the same.
    """
    length = _length(config, data)
    return AppAttributes(length.epoch, length.steps, devices.num_gpus, devices.num_nodes)


def _devices(config: DictConfig, found: Problems) -> Devices:
    with found.collecting():
        if not found.under("run.gpus"):
            return choose_devices(config.run, plain(config.trainer) or {})
    return Devices("cpu", 1, "auto", 1)


def _fields_read(config: DictConfig, mode: Mode, devices: Devices) -> dict[str, set[str]] | None:
    """The fields that are read, by train loader; None where the loss heads do not tell yet."""
    read: dict[str, set[str]] | None = {}
    with app_attributes(run_attributes(config, None, devices)):
        if mode.trains:
            draft = draft_learner(config.learner)
            read = required_fields(draft, list(config.data.train or {})) if draft else None
        evaluators = _evaluators(config, Problems())
    if read is not None:
        for name in (name for evaluator in evaluators.values() for name in evaluator.reads):
            read.setdefault(name, set())
    return read


def _data(
    config: DictConfig, mode: Mode, devices: Devices, seed: int, found: Problems
) -> DataModule | None:
    read = _fields_read(config, mode, devices)
    with found.collecting():
        if not found.under("data", "run.batch_size_per_gpu"):
            data = DataModule(
                config.data,
                config.run,
                world_size=devices.world_size,
                seed=seed,
                splits=mode.loads,
                read=read,
            )
            found.problems += _length_problems(config, mode, data)
            return data
    return None


def _length_problems(config: DictConfig, mode: Mode, data: DataModule) -> list[ConfigProblem]:
    problems = []
    settings, length = plain(config.trainer) or {}, _length(config, data)
    is_fit = mode.trains
    if is_fit and length.batches is None and length.steps is None and not settings.get("max_time"):
        expected = "data of unknown length need run.num_iterations"
        problems.append(ConfigProblem("run.num_iterations", None, expected))
    if is_fit:
        problems += interval_problems(settings, length)
        _validation_settings(config, data)
    if is_fit and length.batches == 0:
        limit, expected = settings.get("limit_train_batches"), "leaves no batch of an epoch"
        problems.append(ConfigProblem("trainer.limit_train_batches", limit, expected))
    classes = OmegaConf.select(config, "learner.hparams.num_classes", throw_on_missing=False)
    if isinstance(classes, int):
        data.labels.expect_classes(classes)
    most = data.labels.num_classes
    if isinstance(classes, int) and most is not None and most > classes:
        expected = f"the data have {most} classes" + (
            f": {', '.join(data.labels.classes[:20])}" if data.labels.classes else ""
        )
        problems.append(ConfigProblem("learner.hparams.num_classes", classes, expected))
    return problems


def _learner(
    config: DictConfig, mode: Mode, data: DataModule | None, most: int | None, found: Problems
) -> Learner | None:
    learner: Learner | None = None
    if found.under("learner"):
        return None
    with found.collecting():
        learner = build_learner(config, trains=mode.trains)
    if learner is not None and data is not None:
        accumulated = (plain(config.trainer) or {}).get("accumulate_grad_batches", 1)
        learner.inputs = inputs_of(data)
        learner.facts = {**facts_of(data), "trainer.accumulate_grad_batches": accumulated}
    is_fit = mode.trains
    has_length = not found.under("run.num_epochs", "run.num_iterations")  # as schedules need
    with found.collecting():
        if learner is not None and is_fit:  # tells a wrong optimizer or schedule now
            _ = learner.configure_optimizers() if has_length else learner.build_optimizer()
    if learner is not None and data is not None:
        _rehearse(learner, data, found, is_fit=is_fit)
    with found.collecting():
        if learner is not None and not found.under(*_WEIGHTS_KEYS):
            load_start(learner, config, trains=mode.trains)
    with found.collecting():
        if learner is not None and not found.under(*_WEIGHTS_KEYS) and is_fit:
            _check_resuming(config, learner, most)
    return learner


def _check_resuming(config: DictConfig, learner: Learner, most: int | None) -> None:
    path, key = config.run.resume_from_checkpoint, "run.resume_from_checkpoint"
    if path is not None:
        check_resuming(learner, path, key=key, max_iterations=most)


def _rehearse(learner: Learner, data: DataModule, found: Problems, *, is_fit: bool) -> None:
    """Tries a step and an evaluation on a few samples."""
    before = len(found.problems)
    with found.collecting():
        if is_fit:
            data.keep(learner.make_plan(data.fields).fields)
            learner.dry_run(data.first_step())
    with found.collecting():
        _rehearse_evaluation(learner, data)
    if len(found.problems) > before:
        found.problems[before:before] = odd_images(data.sample_batches)


def _rehearse_evaluation(learner: Learner, data: DataModule) -> None:
    """Predicts a few samples, so that data which do not fit the networks are reported now."""
    was_training = learner.training
    learner.eval()
    problems = []
    for name in {"val", "test"} & set(data.sample_batches):
        try:
            learner.predict_batch(data.sample_batches[name])
        except Exception as error:
            expected = f"its first samples do not go through the networks: {error}"
            problems.append(ConfigProblem(f"data.{name}", name, expected))
    learner.train(was_training)
    if problems:
        raise ConfigError(problems)


def _evaluation(config: DictConfig, data: DataModule | None, found: Problems) -> Evaluation:
    evaluators = _evaluators(config, found)
    loaded = data.datasets if data else {}
    known = [name.removeprefix(TRAIN) for name in loaded if name.startswith(TRAIN)]
    for name, loader in ((n, loader) for n, e in evaluators.items() for loader in e.reads):
        if data is not None and loader not in known:
            expected = (
                f"there is no train loader {loader!r}; {suggest(loader, known, noun='loaders')}"
            )
            found.problems.append(ConfigProblem(f"run.evaluators.{name}", loader, expected))
    return Evaluation(evaluators or default_evaluators())


def _evaluators(config: DictConfig, found: Problems) -> dict[str, Evaluator]:
    evaluators = {}
    for name, evaluator in (plain(config.run.evaluators) or {}).items():
        with found.collecting():
            evaluators[name] = instantiate(evaluator, key=f"run.evaluators.{name}")
    return evaluators


def _folder(config: DictConfig) -> Path:
    """Makes the run's folder on the first process; the others are told or need none."""
    if rank_zero_only.rank != 0:  # type: ignore[attr-defined]
        return Path(os.environ.get(RUN_FOLDER, Path(config.run.dir) / config.run.id))
    try:
        folder = make_run_folder(config.run.dir, config.run.id, choices().label)
    except OSError as error:
        expected = f"no folder can be made there: {error.strerror or error}"
        raise ConfigError([ConfigProblem("run.dir", config.run.dir, expected)]) from error
    os.environ[RUN_FOLDER] = str(folder)
    return folder


@rank_zero_only
def _remove(folder: Path) -> None:
    """Removes the folder of a run that cannot begin; one that holds something by now stays."""
    with suppress(OSError):
        folder.rmdir()


@rank_zero_only
def _write_inputs(prepared: Prepared, folder: Path) -> None:
    resolved = OmegaConf.create(plain(prepared.config))
    resolved.run.seed = prepared.seed
    write_atomically(folder / "config.yaml", OmegaConf.to_yaml(resolved))
    found = choices()
    chosen = {"config": found.config, "groups": found.groups}
    text = composed_text(prepared.config, seed=prepared.seed, chosen=chosen)
    write_atomically(folder / COMPOSED, text)
    prepared.data.labels.write_list(folder / "labels.csv")


@rank_zero_only
def _announce(prepared: Prepared) -> None:
    data, run = prepared.data, prepared.config.run
    counts = data.labels.counts()
    labels = {display_name(TRAIN + n, data.loaders): sum(c.values()) for n, c in counts.items()}
    most, mode = prepared.attributes.max_iterations, prepared.mode
    length = mode.name.lower() if not mode.trains else f"{most:,} steps" if most else "training"
    devices = prepared.devices
    where = f"{devices.world_size} x {devices.accelerator}"
    sizes, unreadable = sample_counts(data.datasets), unreadable_counts(data.datasets)
    print_opening(run.id, sizes, labels, length, where, unreadable)


def _warn_of_random_weights(prepared: Prepared) -> None:
    run = prepared.config.run
    is_given = run.resume_from_checkpoint or run.pretrained_checkpoint_path
    if not prepared.mode.trains and not is_given:
        log.warning("run.pretrained_checkpoint_path is null: the learner has random weights")
