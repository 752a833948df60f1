"""`trainable`: which parameters of a learner are trained, by patterns over their names."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from pytorch_lightning.utilities import rank_zero_only
from torch import nn

from ..errors import ConfigError, ConfigProblem
from ..models.ema import EMATeacher
from ..models.freezing import freeze
from .averages import freeze_averages
from .definition import LearnerDefinition
from .parameter_names import Names, as_patterns, matches, parameter_names, unmatched_problems

log = logging.getLogger(__name__)

_EXCLUDES = "!"


def freeze_the_rest(
    learner: LearnerDefinition, trainable: str | Iterable[str], *, key: str
) -> None:
    """Freezes the parameters that `trainable` does not name.

    A module all of whose parameters are frozen stays in evaluation mode for good.

    Args:
        learner: A learner that has been built.
        trainable: Patterns, see :func:`parameter_names.matches`. What matches one is trained, but
            for what matches one that begins with ``!``; with such alone everything else is.
        key: The config key of the patterns.

    Raises:
        ConfigError: If a pattern matches no parameter, or only such as are frozen otherwise.
    """
    patterns, names = as_patterns(trainable), parameter_names(learner)
    parameters = dict(learner.named_parameters())
    plain = [pattern.removeprefix(_EXCLUDES) for pattern in patterns]
    problems = [*unmatched_problems(plain, names, key)]
    problems += _frozen_problems(patterns, names, parameters, key)
    if problems:
        raise ConfigError(problems)
    for name in names:
        if not _is_trained(patterns, names[name]):
            parameters[name].requires_grad_(False)
    for module in _frozen_modules(learner):
        freeze(module)
    freeze_averages(learner)


def _is_trained(patterns: list[str], names: Names) -> bool:
    excluded = [p[1:] for p in patterns if p.startswith(_EXCLUDES)]
    wanted = [p for p in patterns if not p.startswith(_EXCLUDES)] or ["*"]
    return any(matches(p, names) for p in wanted) and not any(matches(p, names) for p in excluded)


def _frozen_problems(
    patterns: list[str],
    names: Mapping[str, Names],
    parameters: Mapping[str, nn.Parameter],
    key: str,
) -> list[ConfigProblem]:
    """Finds patterns that ask for the training of nothing but frozen parameters."""
    problems = []
    for pattern in patterns:
        found = [parameters[name] for name in names if matches(pattern, names[name])]
        if found and not any(parameter.requires_grad for parameter in found):
            expected = "what it matches is frozen by a key `freeze`; give freeze: false there"
            problems.append(ConfigProblem(key, pattern, expected))
    return problems


def _frozen_modules(learner: nn.Module) -> list[nn.Module]:
    """The modules that have parameters, all of them frozen; EMA teachers are no matter of this."""
    teachers = [module for module in learner.modules() if isinstance(module, EMATeacher)]
    averaged = {part for teacher in teachers for part in teacher.modules()}
    return [
        module
        for module in learner.modules()
        if module not in averaged
        and any(True for _ in module.parameters())
        and not any(parameter.requires_grad for parameter in module.parameters())
    ]


@rank_zero_only
def announce_counts(learner: nn.Module, settings: Mapping[str, Any]) -> None:
    """Logs how many parameters are trained and how many are frozen, if `trainable` says so.

    Args:
        learner: A learner that is going to be trained.
        settings: Its hyperparameters.
    """
    if settings.get("trainable") is None:
        return
    names, counts = parameter_names(learner), {True: 0, False: 0}
    for name, parameter in learner.named_parameters():
        if name in names:
            counts[parameter.requires_grad] += parameter.numel()
    log.info(
        "trainable: %s parameters are trained, %s frozen", *(f"{n:,}" for n in counts.values())
    )
