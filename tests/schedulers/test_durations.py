"""Durations against counts by hand."""

from typing import Any

import pytest

from sesemi_like.schedulers.durations import steps

RUN: dict[str, Any] = {"iterations_per_epoch": 40, "max_iterations": 1000}


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (0, 0),
        (7, 7),
        (1, 1),
        (1.0, 1000),
        (0.25, 250),
        ("500 steps", 500),
        ("1 step", 1),
        (" 12steps ", 12),
        ("10 epochs", 400),
        ("1 epoch", 40),
        ("0.5 epochs", 20),
        ("0 epochs", 0),
        ("30%", 300),
        ("12.5 %", 125),
        ("0%", 0),
        ("100%", 1000),
    ],
)
def test_every_form(duration: float | str, expected: int) -> None:
    assert steps(duration, **RUN) == expected


def test_rounds_to_the_nearest_step() -> None:
    assert steps("33%", max_iterations=10) == 3
    assert steps(0.37, max_iterations=10) == 4


WRONG_NUMBERS: list[Any] = [-1, 0.0, 1.5, -0.1, float("nan"), True, None, []]
WRONG_TEXTS = ["", "ten", "10", "10 hours", "2.5 steps", "101%", "-3 epochs", "1e3 steps"]


@pytest.mark.parametrize("duration", [*WRONG_NUMBERS, *WRONG_TEXTS])
def test_bad_durations_list_the_forms(duration: Any) -> None:
    with pytest.raises(ValueError) as caught:
        steps(duration, **RUN)
    message = str(caught.value)
    assert repr(duration) in message
    for form in ("500 steps", "10 epochs", "30%", "float in (0, 1]"):
        assert form in message


@pytest.mark.parametrize(
    ("duration", "name"),
    [("10 epochs", "iterations_per_epoch"), ("30%", "max_iterations"), (0.3, "max_iterations")],
)
@pytest.mark.parametrize("missing", [None, "<known once the run has read its data>"])
def test_a_missing_length_is_named(duration: str | float, name: str, missing: str | None) -> None:
    with pytest.raises(ValueError, match=rf"{name}; found {missing!r}; .*\${{app:{name}}}"):
        steps(duration, **{**RUN, name: missing})


def test_a_length_that_is_not_needed_may_be_missing() -> None:
    assert steps(5) == 5
    assert steps("2 epochs", iterations_per_epoch=3) == 6
    assert steps("50%", max_iterations=8) == 4
