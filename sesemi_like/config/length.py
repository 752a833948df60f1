"""How long a run is: the one place where `run` and `trainer` become steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigProblem
from .mode import Mode

_PAIRS = {"max_epochs": "num_epochs", "max_steps": "num_iterations"}
"""Keys of `trainer` that mean the same as a key of `run`."""


@dataclass(frozen=True)
class RunLength:
    """The length of a run.

    Attributes:
        batches: Batches of an epoch, or None where it does not end.
        epoch: Optimizer steps of an epoch, or None where it does not end.
        steps: Optimizer steps of the run, or None where it is open-ended.
    """

    batches: int | None
    epoch: int | None
    steps: int | None


def run_length(
    run: Mapping[str, Any], trainer: Mapping[str, Any], batches: int | None
) -> RunLength:
    """Settles the length of a run, as the Trainer will have it.

    Args:
        run: The section `run`.
        trainer: The section `trainer`.
        batches: Batches of a pass over the longest train loader, or None for data without end.
    """
    batches = _limit_batches(batches, trainer)
    every = trainer.get("accumulate_grad_batches") or 1
    epoch = None if batches is None else -(-batches // every)
    quick = int(trainer.get("fast_dev_run") or 0)
    if quick:
        return RunLength(batches, epoch, _smallest(quick, epoch))
    epochs = _length_limit(run["num_epochs"], trainer.get("max_epochs"))
    in_epochs = None if epochs is None or epoch is None else epochs * epoch
    max_steps = _length_limit(run["num_iterations"], trainer.get("max_steps"))
    return RunLength(batches, epoch, _smallest(in_epochs, max_steps))


def length_problems(
    run: Mapping[str, Any], trainer: Mapping[str, Any], mode: Mode
) -> Iterator[ConfigProblem]:
    """Finds two lengths of a run, or none.

    Args:
        run: The section `run`.
        trainer: The section `trainer`, plain.
        mode: The run's mode; one that trains needs a length.
    """
    own = {key: run[key] for key in _PAIRS.values() if run[key] is not None}
    for name, key in _PAIRS.items():
        value = trainer.get(name)
        is_other = value is not None and own and own.get(key) != value
        if is_other and (value != -1 or key in own):
            given = " and ".join(f"run.{k} is {v}" for k, v in own.items())
            expected = f"{given}; give one length of the run, as run.{key}"
            yield ConfigProblem(f"trainer.{name}", value, expected)
    ends = ("max_epochs", "max_steps", "max_time", "fast_dev_run")
    if mode.trains and not own and not any(trainer.get(name) for name in ends):
        expected = f"{mode.name} needs num_epochs or num_iterations"
        yield ConfigProblem("run.num_epochs", None, expected)


def _limit_batches(batches: int | None, trainer: Mapping[str, Any]) -> int | None:
    """Batches of an epoch, after what the Trainer takes of them."""
    quick, few = trainer.get("fast_dev_run"), trainer.get("overfit_batches")
    limit = few or int(quick or 0) or trainer.get("limit_train_batches")
    if limit is None or isinstance(limit, str):
        return batches
    if isinstance(limit, float):
        return None if batches is None else int(batches * limit)
    return _smallest(batches, int(limit))


def _length_limit(own: int | None, other: Any) -> int | None:
    value = other if own is None else own
    return value if isinstance(value, int) and value >= 0 else None


def _smallest(*values: int | None) -> int | None:
    return min((value for value in values if value is not None), default=None)
