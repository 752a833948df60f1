"""Durations in any unit, steps, epochs or a share of the run, become optimizer steps here."""

from __future__ import annotations

import re
from typing import Any

Duration = int | float | str
"""Steps (``500``, ``"500 steps"``), epochs (``"10 epochs"``), or a share (``"30%"``, ``0.3``)."""

_FORMS = "500 or '500 steps', '10 epochs', '30%', or a share of the run as a float in (0, 1]"
_TEXT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(steps?|epochs?|%)\s*")


def steps(
    duration: Duration,
    *,
    iterations_per_epoch: int | None = None,
    max_iterations: int | None = None,
) -> int:
    """Turns a duration into optimizer steps, rounded to the nearest.

    Args:
        duration: An int (steps), a text such as ``"500 steps"``, ``"10 epochs"`` or ``"30%"`` (of
            the run), or a float in (0, 1] (a share of the run; 1.0 is all of it, 1 is one step).
        iterations_per_epoch: Steps of an epoch; needed by epochs alone.
        max_iterations: Steps of the run; needed by shares alone.

    Returns:
        The steps, 0 or more.

    Raises:
        ValueError: If the duration has no such form, or needs a number that is missing.
    """
    count, unit = parse(duration)
    if unit == "steps":
        return int(count)
    is_share = unit == "share"
    name, size = (
        ("max_iterations", max_iterations)
        if is_share
        else ("iterations_per_epoch", iterations_per_epoch)
    )
    if not isinstance(size, int):
        raise ValueError(
            f"the duration {duration!r} needs {name}; found {size!r}; "
            f"in YAML pass {name}: ${{app:{name}}}"
        )
    return round(count * size)


def steps_of_run(trainer: Any) -> int | None:
    """The optimizer steps of a whole run, or None where it is open-ended.

    Args:
        trainer: A Lightning Trainer that has its data.
    """
    num_steps = trainer.estimated_stepping_batches
    return int(num_steps) if num_steps not in (-1, float("inf")) else None


def parse(duration: Duration) -> tuple[float, str]:
    """Reads a duration without knowing how long an epoch or the run is.

    Args:
        duration: As :func:`steps` takes it.

    Returns:
        A count and its unit: ``steps``, ``epochs`` or ``share`` (of the run, 0 to 1).

    Raises:
        ValueError: If the duration has no such form.
    """
    if isinstance(duration, str):
        return _parse_text(duration)
    if isinstance(duration, int) and not isinstance(duration, bool) and duration >= 0:
        return duration, "steps"
    if isinstance(duration, float) and 0 < duration <= 1:
        return duration, "share"
    raise _invalid_duration(duration)


def _parse_text(text: str) -> tuple[float, str]:
    match = _TEXT.fullmatch(text)
    if not match:
        raise _invalid_duration(text)
    count, unit = float(match[1]), match[2]
    if unit.startswith("epoch"):
        return count, "epochs"
    if unit.startswith("step") and count.is_integer():
        return count, "steps"
    if unit == "%" and count <= 100:
        return count / 100, "share"
    raise _invalid_duration(text)


def _invalid_duration(duration: object) -> ValueError:
    return ValueError(f"found the duration {duration!r}; needs {_FORMS}")
