"""What learners share: structs of loss heads, EMA and schedule, their checks, the table entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING, DictConfig

from ...errors import ConfigProblem
from ..choices import EMA_KINDS, EMA_MODES, LR_INTERVALS, REDUCTIONS
from ..rules import at_least, needed, one_of


@dataclass
class LearnerConfig:
    """Any learner: a class that takes its `hparams` as one mapping.

    Attributes:
        _target_: The learner's class.
        hparams: Whatever it is rebuilt from.
    """

    _target_: str = MISSING
    hparams: Any = None


@dataclass(frozen=True)
class LearnerEntry:
    """What the table of learners has of one.

    Attributes:
        name: Its choice in the config group `learner`.
        struct: Its section `learner`, whose `_target_` is its class.
        problems: Checks a config of that struct; is also passed whether the run trains.
    """

    name: str
    struct: type[LearnerConfig]
    problems: Callable[[DictConfig, bool], Iterator[ConfigProblem]]


@dataclass
class LossHeadConfig:
    """A regularization loss head and its weight.

    Attributes:
        head: The loss head.
        scheduler: The weight over time: a callable step -> float; null is constant.
        reduction: mean (by samples) | weighted_mean (by weights) | sum.
        scale_factor: Multiplies the reduced loss; 0 switches the head off.
    """

    head: Any = MISSING
    scheduler: Any = None
    reduction: str = "mean"
    scale_factor: float = 1.0


@dataclass
class EMAConfig:
    """The exponential moving average of the classifier, the network named `teacher`.

    Attributes:
        decay: Share of the old average kept at each step, in [0, 1], or a schedule of it: a
            callable step -> float.
        warmup: Starts with a smaller decay that grows to `decay`.
        kind: states (parameters and buffers are averaged) | parameters (buffers are copied).
        mode: eval (it is in evaluation mode throughout) | train (its dropout and BatchNorm follow
            the mode of training).
    """

    decay: Any = 0.999
    warmup: bool = True
    kind: str = "states"
    mode: str = "eval"


@dataclass
class TeacherConfig(EMAConfig):
    """An EMA teacher of a network by name.

    Attributes:
        decay: Share of the old average kept at each step, in [0, 1], or a schedule of it: a
            callable step -> float.
        warmup: Starts with a smaller decay that grows to `decay`.
        kind: states (parameters and buffers are averaged) | parameters (buffers are copied).
        mode: eval (it is in evaluation mode throughout) | train (its dropout and BatchNorm follow
            the mode of training).
        network: The network that is averaged, or a loss head's layer, such as `heads.abc.layer`.
    """

    network: str = "classifier"


@dataclass
class ParamGroupConfig:
    """Parameters that are trained with settings of their own.

    Attributes:
        match: A pattern over parameter names (`backbone.*`), or a list of them.
        lr: Their learning rate; exclusive with `lr_scale`.
        lr_scale: Their learning rate as a multiple of the optimizer's.
        weight_decay: Their weight decay; null is the optimizer's.
    """

    match: Any = MISSING
    lr: float | None = None
    lr_scale: float | None = None
    weight_decay: float | None = None


@dataclass
class LRSchedulerConfig:
    """A learning-rate schedule.

    Attributes:
        scheduler: A torch LRScheduler; gets the optimizer.
        frequency: Intervals between two steps of it.
        interval: step | epoch.
        monitor: The metric ReduceLROnPlateau watches; null is the run's headline, in its direction.
        strict: Whether a missing monitored metric is an error.
        name: Its name in the logs.
    """

    scheduler: Any = MISSING
    frequency: int = 1
    interval: str = "step"
    monitor: str | None = None
    strict: bool = True
    name: str | None = None


def loss_problems(loss: DictConfig | None, key: str) -> Iterator[ConfigProblem]:
    """Checks how a loss is reduced.

    Args:
        loss: A config with a `reduction`, or None where it is switched off.
        key: Its dotted key.
    """
    if loss is not None:
        yield from one_of(loss, key, "reduction", REDUCTIONS)


def ema_problems(ema: DictConfig | None, key: str) -> Iterator[ConfigProblem]:
    """Checks the moving average.

    Args:
        ema: A config of :class:`EMAConfig`, or None.
        key: Its dotted key.
    """
    if ema is None:
        return
    yield from one_of(ema, key, "kind", EMA_KINDS)
    yield from one_of(ema, key, "mode", EMA_MODES)
    decay, is_number = ema.decay, isinstance(ema.decay, int | float)
    is_schedule = isinstance(decay, DictConfig) and "_target_" in decay
    if isinstance(decay, bool) or not (is_number or is_schedule):
        expected = (
            "must be a number in [0, 1], or a schedule: a _target_ that is called with a step"
        )
        yield ConfigProblem(f"{key}.decay", decay, expected)
    elif is_number and not 0 <= decay <= 1:
        yield ConfigProblem(f"{key}.decay", decay, "must lie in [0, 1]")


def lr_scheduler_problems(schedule: DictConfig | None, key: str) -> Iterator[ConfigProblem]:
    """Checks the learning-rate schedule.

    Args:
        schedule: A config of :class:`LRSchedulerConfig`, or None.
        key: Its dotted key.
    """
    if schedule is None:
        return
    yield from one_of(schedule, key, "interval", LR_INTERVALS)
    yield from at_least(schedule, key, "frequency", 1)
    yield from needed(schedule, key, "scheduler", LRSchedulerConfig)
