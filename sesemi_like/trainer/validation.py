"""How often a run is validated: `run.validate_every`, in the words of a Lightning Trainer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..config.length import RunLength
from ..errors import ConfigError, ConfigProblem
from ..schedulers.durations import Duration, parse, steps

_SHORT, _MOST = 100, 20
"""Epochs of fewer steps than this are not all validated where a run has more of them than that."""

_OWN_KEYS = ("check_val_every_n_epoch", "val_check_interval")


def validation_settings(
    every: Duration | None,
    trainer: Mapping[str, Any],
    length: RunLength,
    *,
    watches: str | None = None,
) -> dict[str, Any]:
    """The Trainer's settings for validating so often; the last step is validated in any case.

    Args:
        every: `run.validate_every`: steps, ``"2 epochs"``, a share of the run; None is every epoch,
            or about 20 times a run of short epochs.
        trainer: The section `trainer`.
        length: How long the run is.
        watches: The metric that a learning-rate schedule watches after every epoch.

    Raises:
        ConfigError: If it cannot be known when that is, or `trainer` says it too.
    """
    said = {name: trainer[name] for name in _OWN_KEYS if trainer.get(name) is not None}
    if every is None and set(said) == {"check_val_every_n_epoch"} and length.batches:
        every = f"{said['check_val_every_n_epoch']} epochs"  # and the last step, unlike Lightning
    elif every is None:
        is_settled = bool({*_OWN_KEYS} & {*trainer}) or watches is not None
        every = "1 epoch" if is_settled else _default(length)
    elif said:
        expected = f"{' and '.join(f'trainer.{n}={v}' for n, v in said.items())} says it too"
        raise ConfigError([ConfigProblem("run.validate_every", every, expected)])
    try:
        batches = _batches(every, length)
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
    """Epochs from one validation to the next, or one checkpoint to the next, unless a run says so.

    Args:
        length: How long the run is.

    Returns:
        1, or what makes about 20 of a run with more epochs than that, of fewer than 100 steps each.
    """
    if not length.epoch or not length.steps or length.epoch >= _SHORT:
        return 1
    return max(1, math.ceil(length.steps / length.epoch / _MOST))


def _default(length: RunLength) -> str:
    return f"{epochs_between(length)} epochs"


def _batches(every: Duration, length: RunLength) -> int | None:
    """Batches from one validation to the next; None is the end of each epoch."""
    count, unit = parse(every)
    if unit == "epochs" and count == 1:
        return None
    found = steps(every, iterations_per_epoch=length.epoch, max_iterations=length.steps)
    if found < 1:
        raise ValueError("must be at least one step")
    if length.batches is None or length.epoch is None:
        return found
    if unit == "epochs" and count.is_integer():
        return int(count) * length.batches
    return found * max(1, round(length.batches / length.epoch))
