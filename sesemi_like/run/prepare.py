"""From a config to a prepared run: everything is built and checked, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf

from ..config.check import named_loaders
from ..config.check_compile import compile_arguments
from ..config.facts import DataFacts
from ..config.headline import default_headline
from ..config.instantiate import plain
from ..config.length import RunLength, run_length
from ..config.mode import Mode, find_mode
from ..config.resolvers import AppAttributes, app_attributes
from ..data import DataModule
from ..data.checks.facts import data_facts, inputs_of, resuming_facts
from ..data.loading.keys import EVALUATED, EVALUATION, TRAIN, short_name
from ..devices import Devices, choose_devices
from ..errors import ConfigError, ConfigProblem, Problems
from ..evaluation import Evaluation
from ..evaluation.callback import needs_of
from ..learners import Learner
from ..learners.checkpoints.resume_checks import check_resuming
from ..learners.checkpoints.starting import (
    build_learner,
    leave_frozen_out,
    load_start,
    rebuild_learner,
)
from ..learners.compilation import compile_networks
from ..learners.lr_schedules import watched_metric
from ..learners.outline import outlining
from ..learners.required_fields import draft_learner, required_fields
from ..report.tasks import show_progress
from ..trainer.validation import interval_problems, validation_settings
from .dry_run import dry_run_problems
from .evaluators import build_evaluators, evaluators_of, loaders_read, reading_problems
from .headline import headline_of
from .modes import MODES
from .predictions.checks import writing_problems
from .prepared import Prepared
from .seed import choose_seed


def prepare(
    config: DictConfig, problems: Iterable[ConfigProblem] = (), *, decodes: bool = True
) -> Prepared:
    """Builds data, learner and evaluation, and checks that they fit each other.

    Args:
        config: A composed config.
        problems: Mistakes found so far; they are reported together with those found here.
        decodes: Whether images that are to be kept decoded are decoded now.

    Raises:
        ConfigError: With every mistake found.
    """
    preparation = _Preparation(config, _find_mode(config, problems), Problems(problems))
    seed = preparation.choose_seed()
    pl.seed_everything(seed, workers=True, verbose=False)
    devices = preparation.choose_devices()
    data = preparation.build_data(devices, seed)
    length = preparation.length(data.iterations_per_epoch if data else 1)
    # Again, so that weights do not depend on what random transforms drew for the first samples.
    pl.seed_everything(seed, workers=True, verbose=False)
    attributes = _attributes(length, devices)
    with app_attributes(attributes):
        validation = preparation.check_data(data, length) if data else {}
        learner = preparation.build_learner(data, length, devices)
        evaluation = preparation.build_evaluation(data, learner)
    preparation.problems.raise_if_any()
    assert data is not None and learner is not None
    learner.seed = seed
    if decodes:
        data.decode(show_progress)
    return Prepared(
        config=config,
        mode=preparation.mode,
        seed=seed,
        devices=devices,
        length=length,
        attributes=attributes,
        validation=validation,
        data=data,
        learner=learner,
        evaluation=evaluation,
        headline=headline_of(config, learner, evaluation),
    )


def _find_mode(config: DictConfig, problems: Iterable[ConfigProblem]) -> Mode:
    """The run's mode, without which nothing else can be checked."""
    try:
        return find_mode(config, MODES)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from error


def _attributes(length: RunLength, devices: Devices) -> AppAttributes:
    return AppAttributes(length.epoch, length.steps, devices.num_gpus, devices.num_nodes)


class _Preparation:
    """Builds the parts of a run in order, and collects the mistakes in all of them.

    What depends on a part that has a mistake is skipped; the rest is checked nevertheless.
    """

    def __init__(self, config: DictConfig, mode: Mode, problems: Problems) -> None:
        self.config, self.run, self.mode, self.problems = config, config.run, mode, problems
        self.trainer: dict[str, Any] = plain(config.trainer) or {}

    def length(self, batches: int | None) -> RunLength:
        """How long the run is, by the batches of an epoch.

        For data that cannot be read a single batch is assumed: the run is bound to fail, but the
        rest of its config can be checked.
        """
        return run_length(self.run, self.trainer, batches)

    def choose_seed(self) -> int:
        """Chooses the run's seed, the same on all of its processes."""
        with self.problems.collecting():
            if not self.problems.under("run.seed", "run.num_nodes"):
                resumed = self.run.resume_from_checkpoint if self.mode.trains else None
                return choose_seed(self.run.seed, resumed=resumed, num_nodes=self.run.num_nodes)
        return 0  # the run is bound to fail

    def choose_devices(self) -> Devices:
        """Chooses where the run computes."""
        with self.problems.collecting():
            if not self.problems.under("run.gpus"):
                return choose_devices(self.run, self.trainer)
        return Devices("cpu", 1, "auto", 1)

    @property
    def _learner_section(self) -> Any:
        return OmegaConf.select(self.config, "learner", throw_on_missing=False)

    def build_data(self, devices: Devices, seed: int) -> DataModule | None:
        """Builds the loaders that the mode, the loss heads and the evaluators read."""
        with app_attributes(_attributes(self.length(batches=1), devices)):
            draft = draft_learner(self._learner_section)
            required = self._required_fields(draft)
        with self.problems.collecting():
            if not self.problems.under("data", "run.batch_size_per_gpu", "run.cache_limit"):
                return DataModule(
                    self.config.data,
                    self.run,
                    world_size=devices.world_size,
                    seed=seed,
                    splits=self.mode.loads,
                    read=required,
                    labeled_loader=draft.labeled_loader if draft else None,
                )
        return None

    def _required_fields(self, draft: Learner | None) -> dict[str, set[str]] | None:
        """The fields that are read, by train loader; None where that is not known yet."""
        required: dict[str, set[str]] | None = {}
        if self.mode.trains:
            loaders = list(self.config.data.train or {})
            required = required_fields(draft, loaders) if draft else None
        if required is not None:
            loaders = [key.removeprefix("data.") for key, _ in named_loaders(self.config.data)]
            splits = {*EVALUATED} & {*self.mode.loads} & {*loaders}
            evaluators = build_evaluators(self.run.evaluators, Problems())
            for name in loaders_read(evaluators, splits):
                required.setdefault(name, set())
        return required

    def check_data(self, data: DataModule, length: RunLength) -> Mapping[str, Any]:
        """Checks the data against the length of the run and against the learner.

        Returns:
            The settings of a Trainer for how often it validates.
        """
        validation: Mapping[str, Any] = {}
        if self.mode.trains:
            self.problems.problems += self._length_problems(length)
            with self.problems.collecting():
                validation = self._validation_settings(length) if "val" in data.datasets else {}
        # Drafted again: only now are its settings resolved with the length of the run.
        if draft := draft_learner(self._learner_section):
            if draft.num_classes is not None:
                data.labels.expect_classes(draft.num_classes)
            self.problems.problems += draft.problems(data_facts(data, length.epoch))
        return validation

    def _length_problems(self, length: RunLength) -> list[ConfigProblem]:
        problems = interval_problems(self.trainer, length)
        if length.batches is None and length.steps is None and not self.trainer.get("max_time"):
            expected = "data of unknown length need run.num_iterations"
            problems.insert(0, ConfigProblem("run.num_iterations", None, expected))
        if length.batches == 0:
            limit, expected = self.trainer.get("limit_train_batches"), "leaves no batch of an epoch"
            problems.append(ConfigProblem("trainer.limit_train_batches", limit, expected))
        return problems

    def _validation_settings(self, length: RunLength) -> dict[str, Any]:
        schedule = plain(OmegaConf.select(self.config, "learner.hparams.lr_scheduler"))
        watches = watched_metric(schedule, default_headline(is_validated=True))
        every = self.run.validate_every
        return validation_settings(every, self.trainer, length, watches=watches)

    def build_learner(
        self, data: DataModule | None, length: RunLength, devices: Devices
    ) -> Learner | None:
        """Builds the learner, runs it on a few samples, and loads its initial weights."""
        if self.problems.under("learner"):
            return None
        with self.problems.collecting():
            facts = None if data is None else data_facts(data, length.epoch)
            with self._without_data(data is None):
                learner = self._build_learner(facts)
            if data is not None:
                learner.inputs, learner.facts = inputs_of(data), self._resuming_facts(data)
            if self.mode.trains:
                self._check_optimizer(learner)
            if data is not None:
                self.problems.problems += self._trial_problems(learner, data)
            self._load_weights(learner, length)
            self._compile(learner, devices)
            return learner
        return None

    @contextmanager
    def _without_data(self, is_missing: bool) -> Iterator[None]:
        """Leaves out what heads say they must know of data that could not be built."""
        try:
            yield
        except ConfigError as error:
            own = [p for p in error.problems if not (is_missing and p.key.startswith("data."))]
            raise ConfigError(own) from error

    def _trial_problems(self, learner: Learner, data: DataModule) -> list[ConfigProblem]:
        trains, rehearse = self.mode.trains, self._rehearse
        needs = needs_of(build_evaluators(self.run.evaluators, Problems()).values())
        problems = dry_run_problems(learner, data, trains=trains, rehearse=rehearse, needs=needs)
        if problems or rehearse != "full":
            return problems
        return [*writing_problems(learner, data, self.run.predict)]

    @property
    def _rehearse(self) -> str:
        """How a step is tried before training; without training, predictions always are."""
        return str(self.run.rehearse) if self.mode.trains else "full"

    def _build_learner(self, facts: DataFacts | None) -> Learner:
        """Builds the learner, or its outline where training is rehearsed by shapes."""
        trains = self.mode.trains
        if self._rehearse != "shapes":
            return build_learner(self.config, facts, trains=trains)
        with outlining():
            learner = build_learner(self.config, facts, trains=trains)
        learner.is_rehearsed = False
        learner.build_later = partial(rebuild_learner, learner, self.config, trains=trains)
        return learner

    def _compile(self, learner: Learner, devices: Devices) -> None:
        """Compiles the networks, if `run.compile` says so; last, as only then they are whole."""
        if self.problems.problems:
            return
        if (arguments := compile_arguments(plain(self.run.compile))) is None:
            return
        if (build := learner.build_later) is None:
            compile_networks(learner.networks, arguments, devices.of_process)
            return

        def build_and_compile() -> None:
            build()
            compile_networks(learner.networks, arguments, devices.of_process)

        learner.build_later = build_and_compile

    def _resuming_facts(self, data: DataModule) -> dict[str, Any]:
        accumulated = self.trainer.get("accumulate_grad_batches", 1)
        return {**resuming_facts(data), "trainer.accumulate_grad_batches": accumulated}

    def _check_optimizer(self, learner: Learner) -> None:
        """Builds the optimizer and its schedule, which needs the length of the run."""
        has_length = not self.problems.under("run.num_epochs", "run.num_iterations")
        with self.problems.collecting():
            _ = learner.configure_optimizers() if has_length else learner.build_optimizer()

    def _load_weights(self, learner: Learner, length: RunLength) -> None:
        key = "run.resume_from_checkpoint"
        if self.problems.under(key, "run.pretrained_checkpoint_path"):
            return
        with self.problems.collecting():
            loaded = load_start(learner, self.config, trains=self.mode.trains)
            if self.mode.trains:
                leave_frozen_out(learner, self.config, loaded)
        with self.problems.collecting():
            path = self.run.resume_from_checkpoint
            if self.mode.trains and path is not None:
                goes_on = self.run.resume is not None
                check_resuming(
                    learner, path, key=key, max_iterations=length.steps, may_be_over=goes_on
                )

    def build_evaluation(self, data: DataModule | None, learner: Learner | None) -> Evaluation:
        """Builds the evaluators."""
        evaluators = evaluators_of(self.run.evaluators, data, learner, self.problems)
        loaders = [key.removeprefix("data.") for key, _ in named_loaders(self.config.data)]
        names = [short_name(name) for name in loaders if name.startswith((TRAIN, EVALUATION))]
        self.problems.problems += reading_problems(evaluators, names)
        return Evaluation(evaluators)
