"""Checks of the section `trainer` that need no torch: lengths, limits, and what cannot train."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..errors import ConfigProblem, suggest
from .by_name import described_by_key
from .length import length_problems
from .mode import Mode

PRECISIONS = ("32-true", "32", 32, "bf16-mixed", "bf16", "16-mixed", "16", 16)
"""What `trainer.precision` may be: weights stay in the precision that losses need."""

_Test = tuple[Callable[[Any], bool], str]


def _is_count(value: Any, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


_LENGTH: _Test = (lambda v: v == -1 or _is_count(v, 1), "must be at least 1, or -1 for no end")
_COUNT: _Test = (lambda v: _is_count(v, 1), "must be an integer of at least 1")
_FROM_0: _Test = (lambda v: _is_count(v, 0), "must be an integer of at least 0")
_SOME: _Test = (
    lambda v: _is_count(v, 1) or (isinstance(v, float) and 0 < v <= 1),
    "must be a number of batches of at least 1, or a share of them in (0.0, 1.0]",
)
_INTERVAL: _Test = (lambda v: isinstance(v, str | dict) or _SOME[0](v), _SOME[1])
_TIME: _Test = (
    lambda v: isinstance(v, str | dict),
    "needs days:hours:minutes:seconds, 00:12:00:00",
)
_ANY_OR_NONE: _Test = (lambda v: v == 0 or _SOME[0](v), f"{_SOME[1]}, or 0")

_TESTS: dict[str, _Test] = {
    "max_epochs": _LENGTH,
    "max_steps": _LENGTH,
    "devices": (lambda v: v not in (0, []), "must be at least 1 device, -1 or auto for all"),
    "num_nodes": _COUNT,
    "accumulate_grad_batches": _COUNT,
    "check_val_every_n_epoch": _COUNT,
    "val_check_interval": _INTERVAL,
    "max_time": _TIME,
    "limit_train_batches": _SOME,
    "limit_val_batches": _ANY_OR_NONE,
    "limit_test_batches": _ANY_OR_NONE,
    "overfit_batches": _ANY_OR_NONE,
    "fast_dev_run": (lambda v: isinstance(v, bool) or _is_count(v, 0), "must be true or a count"),
    "log_every_n_steps": _FROM_0,
    "num_sanity_val_steps": (lambda v: v == -1 or _is_count(v, 0), "must be at least 0, or -1"),
    "gradient_clip_val": (lambda v: isinstance(v, int | float) and v >= 0, "must be 0 or more"),
}


def trainer_problems(config: DictConfig, mode: Mode) -> Iterator[ConfigProblem]:
    """Checks the section `trainer`, and that it gives the length that `run` gives."""
    section: Any = OmegaConf.to_container(config.trainer, resolve=False) if config.trainer else {}
    if not isinstance(section, dict):
        yield ConfigProblem("trainer", section, "needs keys that a Lightning Trainer takes")
        return
    # What is known in the run alone, such as ${app:max_iterations}, is left to Lightning.
    given = {k: v for k, v in section.items() if not OmegaConf.is_interpolation(config.trainer, k)}
    wrong = [*_value_problems(given)]
    yield from wrong
    if not wrong:
        yield from length_problems(config.run, given, mode)
    yield from _callback_problems(given.get("callbacks"))
    yield from _accumulation_problems(config.run, given)


def _callback_problems(callbacks: Any) -> Iterator[ConfigProblem]:
    described = described_by_key(callbacks, "trainer.callbacks")
    if not all(map(_is_described, described.values())):
        expected = "needs a callback with its _target_, a list of them, or a mapping by name"
        yield ConfigProblem("trainer.callbacks", callbacks, expected)


def _is_described(callback: Any) -> bool:
    if isinstance(callback, dict):
        return "_target_" in callback
    return isinstance(callback, str) and "${" in callback


def _value_problems(given: Mapping[str, Any]) -> Iterator[ConfigProblem]:
    for name, (is_right, expected) in _TESTS.items():
        if given.get(name) is not None and not is_right(given[name]):
            yield ConfigProblem(f"trainer.{name}", given[name], expected)
    precision = given.get("precision")
    if precision is not None and precision not in PRECISIONS:
        known = suggest(str(precision), {str(p) for p in PRECISIONS}, noun="choices")
        yield ConfigProblem("trainer.precision", precision, f"cannot be trained in here; {known}")


def _accumulation_problems(
    run: Mapping[str, Any], given: Mapping[str, Any]
) -> Iterator[ConfigProblem]:
    """Finds epochs of different numbers of steps, of which no schedule could know the end."""
    described = described_by_key(given.get("callbacks"), "trainer.callbacks")
    for key, callback in described.items():
        target = callback.get("_target_") if isinstance(callback, dict) else ""
        is_by_epochs = run["num_iterations"] is None and given.get("max_steps") is None
        if str(target).endswith("GradientAccumulationScheduler") and is_by_epochs:
            expected = "changes how many steps an epoch has; needs run.num_iterations"
            yield ConfigProblem(key, target, expected)
