"""Intervals in optimizer steps or in time, from one checkpoint to the next."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_SECONDS = {"second": 1, "minute": 60, "hour": 3600}
_TEXT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(step|second|minute|hour)s?\s*")
_FORMS = "needs 500 or '500 steps', '10 minutes', '90 seconds' or '2 hours'"


@dataclass(frozen=True)
class Interval:
    """An interval, of which one of the two is given.

    Attributes:
        steps: Optimizer steps, at least 1.
        seconds: Time, more than 0.
    """

    steps: int | None = None
    seconds: float | None = None


def parse_interval(value: Any) -> Interval:
    """Reads an interval.

    Args:
        value: Steps as a number, or a text such as ``"500 steps"`` or ``"10 minutes"``.

    Raises:
        ValueError: If it has no such form, or is zero.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return Interval(steps=value)
    match = _TEXT.fullmatch(value) if isinstance(value, str) else None
    count = float(match[1]) if match else 0.0
    if match is None or count == 0:
        raise ValueError(_FORMS)
    if match[2] != "step":
        return Interval(seconds=count * _SECONDS[match[2]])
    if not count.is_integer():
        raise ValueError(_FORMS)
    return Interval(steps=int(count))
