"""Checks of arguments, whose messages name the argument, the value and what is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sesemi_like.errors import as_yaml

INFINITE = float("inf")
"""The upper end of ranges without one."""


def check(condition: bool, name: str, value: Any, expected: str) -> None:
    """Raises a ValueError about one argument unless a condition holds.

    Args:
        condition: Whether the value is right.
        name: The argument's name.
        value: The given value.
        expected: What would be right, as a noun phrase.

    Raises:
        ValueError: The condition does not hold.
    """
    if not condition:
        raise ValueError(f"{name}: found {as_yaml(value)}; expected {expected}")


def number(name: str, value: Any, lowest: float, highest: float) -> float:
    """Returns a number of the closed interval [lowest, highest], or raises ValueError."""
    fits = is_number(value) and lowest <= value <= highest
    check(fits, name, value, f"a number {bounds(lowest, highest)}")
    return float(value)


def integer(name: str, value: Any, lowest: int) -> int:
    """Returns an integer of at least `lowest`, or raises ValueError."""
    fits = isinstance(value, int) and not isinstance(value, bool) and value >= lowest
    check(fits, name, value, f"an integer of at least {lowest}")
    return int(value)


def interval(name: str, value: Any, lowest: float, highest: float) -> tuple[float, float]:
    """Returns a pair (low, high) with lowest <= low <= high <= highest, or raises ValueError."""
    expected = f"a pair [low, high] of numbers, low <= high, {bounds(lowest, highest)}"
    pair = is_sequence(value) and len(value) == 2 and all(map(is_number, value))
    check(pair, name, value, expected)
    low, high = float(value[0]), float(value[1])
    check(lowest <= low <= high <= highest, name, value, expected)
    return low, high


def height_and_width(name: str, value: Any) -> tuple[int, int]:
    """Returns (height, width) of one integer or a pair, or raises ValueError."""
    pair = tuple(value) if is_sequence(value) else (value, value)
    fits = len(pair) == 2 and all(type(side) is int and side > 0 for side in pair)
    check(fits, name, value, "an integer of pixels, or a pair [height, width]")
    return pair[0], pair[1]


def is_number(value: Any) -> bool:
    """Returns whether a value is an int or float, but no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_sequence(value: Any) -> bool:
    """Returns whether a value is a list, tuple or list config, but no text."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def bounds(lowest: float, highest: float) -> str:
    """Describes the interval [lowest, highest], whose upper end may be infinite."""
    if highest == INFINITE:
        return f"of at least {lowest:g}"
    return f"in [{lowest:g}, {highest:g}]"
