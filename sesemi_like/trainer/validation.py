"""How often a run is validated: `run.validate_every` as settings of a Lightning Trainer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..config.length import RunLength
from ..errors import ConfigError, ConfigProblem
from ..schedulers.durations import Duration, parse, steps

_SHORT_EPOCH = 100
"""Steps; epochs of fewer are not all validated where there are many."""

_NUM_VALIDATIONS = 20
"""How often a run of many short epochs is validated, about."""

_TRAINER_KEYS = ("check_val_every_n_epoch", "val_check_interval")


def validation_settings(
    every: Duration | None,
    trainer: Mapping[str, Any],
    length: RunLength,
    *,
    watches: str | None = None,
) -> dict[str, Any]:
    """Translates an interval between validations; the last step is validated in any case.

    Args:
        every: `run.validate_every`: steps, ``"2 epochs"``, a share of the run; None is every epoch,
            or about 20 times a run of short epochs.
        trainer: The section `trainer`.
        length: How long the run is.
        watches: The metric that a learning-rate schedule watches after every epoch.

    Returns:
        Settings of a Trainer, which take precedence over those of `trainer`.

    Raises:
        ConfigError: If the interval cannot be converted to batches, or `trainer` gives one too.
    """
    given = {name: trainer[name] for name in _TRAINER_KEYS if trainer.get(name) is not None}
    if every is None and set(given) == {"check_val_every_n_epoch"} and length.batches:
        every = f"{given['check_val_every_n_epoch']} epochs"  # and the last step, unlike Lightning
    elif every is None:
        is_settled = bool({*_TRAINER_KEYS} & {*trainer}) or watches is not None
        every = "1 epoch" if is_settled else f"{epochs_between(length)} epochs"
    elif given:
        others = " and ".join(f"trainer.{name}={value}" for name, value in given.items())
        expected = f"{others} gives an interval too; leave one of them out"
        raise ConfigError([ConfigProblem("run.validate_every", every, expected)])
    try:
        batches = _interval_in_batches(every, length)
    except ValueError as error:
        raise ConfigError([ConfigProblem("run.validate_every", every, str(error))]) from error
    if batches is None:
        return {}
    return {"check_val_every_n_epoch": None, "val_check_interval": batches}


def interval_problems(trainer: Mapping[str, Any], length: RunLength) -> list[ConfigProblem]:
    """Finds an interval between validations that is longer than an epoch, which Lightning refuses.

    Args:
        trainer: The section `trainer`.
        length: How long the run is.
    """
    interval = trainer.get("val_check_interval")
    is_within = trainer.get("check_val_every_n_epoch", 1) is not None
    if not isinstance(interval, int) or not is_within or length.batches is None:
        return []
    if interval <= length.batches:
        return []
    expected = f"an epoch has {length.batches} batches; run.validate_every counts steps over epochs"
    return [ConfigProblem("trainer.val_check_interval", interval, expected)]


def epochs_between(length: RunLength) -> int:
    """Epochs between validations, or between checkpoints, where the config leaves that open.

    Args:
        length: How long the run is.

    Returns:
        1, or for a run of more than 20 epochs of fewer than 100 steps what makes about 20 of them.
    """
    if not length.epoch or not length.steps or length.epoch >= _SHORT_EPOCH:
        return 1
    return max(1, math.ceil(length.steps / length.epoch / _NUM_VALIDATIONS))


def _interval_in_batches(every: Duration, length: RunLength) -> int | None:
    """Batches between validations; None validates at the end of each epoch."""
    count, unit = parse(every)
    if unit == "epochs" and count == 1:
        return None
    interval = steps(every, iterations_per_epoch=length.epoch, max_iterations=length.steps)
    if interval < 1:
        raise ValueError("must be at least one step")
    if length.batches is None or length.epoch is None:
        return interval
    if unit == "epochs" and count.is_integer():
        return int(count) * length.batches
    return interval * max(1, round(length.batches / length.epoch))
