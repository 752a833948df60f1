"""Metrics that callbacks and schedules watch: what a run does not measure is reported before it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

from ..errors import ConfigError, ConfigProblem, suggest
from ..evaluation.callback import needs_of
from ..learners.evaluated import predict_samples
from ..learners.lr_schedules import watched_metric, watches_a_metric
from ..learners.outline import is_outline
from ..trainer.build import callback_keys
from .prepared import Prepared

_ALWAYS = ("lr", "epoch", "step", "train/loss")
_KNOWN = ("pytorch_lightning", "lightning", "sesemi_like")


def monitor_problems(prepared: Prepared, callbacks: Sequence[Any]) -> list[ConfigProblem]:
    """Finds callbacks and schedules that watch a metric which this run does not measure.

    None is reported where a callback or learner from outside the package may log the metric.

    Args:
        prepared: The run.
        callbacks: The callbacks of the section `trainer`, built.
    """
    watched = {
        f"{key}.monitor": callback.monitor
        for key, callback in zip(callback_keys(prepared.config), callbacks, strict=True)
        if isinstance(callback, EarlyStopping | ModelCheckpoint)
        and callback.monitor
        and getattr(callback, "strict", True)
    }
    schedule = prepared.learner.settings.get("lr_scheduler")
    metric = watched_metric(schedule, prepared.headline)
    early = []
    if schedule and metric and schedule.get("strict", True):
        watched["learner.hparams.lr_scheduler.monitor"] = metric
        early = [*_early_problems(schedule, metric)]
    if prepared.config.run.headline is not None:
        watched["run.headline"] = prepared.headline.name
    loggers = [*callbacks, prepared.learner]
    is_open = any(type(logger).__module__.split(".")[0] not in _KNOWN for logger in loggers)
    known = None if is_open or not watched else _logged_metrics(prepared)
    if known is None:
        return early
    return early + [
        ConfigProblem(
            key, name, f"this run does not measure it; {suggest(name, known, noun='but')}"
        )
        for key, name in watched.items()
        if name not in known
    ]


def _early_problems(schedule: Mapping[str, Any], metric: str) -> Iterator[ConfigProblem]:
    """Finds a schedule that reads a figure of validation after a step, before there is one."""
    is_early = schedule.get("interval") == "step" and schedule.get("frequency", 1) == 1
    if is_early and metric.startswith("val/") and watches_a_metric(schedule):
        expected = f"no step measures {metric}, which the schedule watches; needs epoch"
        yield ConfigProblem("learner.hparams.lr_scheduler.interval", "step", expected)


def _logged_metrics(prepared: Prepared) -> Collection[str] | None:
    """The names of all metrics; None where they are not known before values are computed."""
    if not prepared.learner.logged_names or is_outline(prepared.learner):
        return None
    known = {*_ALWAYS, *prepared.learner.logged_names}
    samples = prepared.data.sample_batches.get("val")
    if samples is None:
        return known
    learner, was_training = prepared.learner, prepared.learner.training
    learner.eval()
    needs = needs_of(prepared.evaluation.evaluators.values())
    names = prepared.evaluation.names(predict_samples(learner, samples, needs))
    learner.train(was_training)
    return None if names is None else known | names


@contextmanager
def explain_trainer_errors() -> Iterator[None]:
    """Reports what Lightning finds wrong with settings of the Trainer while it runs.

    Raises:
        ConfigError: In place of Lightning's own errors.
    """
    try:
        yield
    except MisconfigurationException as error:
        raise ConfigError([_problem(error)]) from error
    except RuntimeError as error:
        if not str(error).startswith("Early stopping conditioned on metric"):
            raise
        raise ConfigError([_problem(error)]) from error


def _problem(error: Exception) -> ConfigProblem:
    reason = " ".join(str(error).split())
    return ConfigProblem("trainer", "settings that Lightning refuses", reason)
