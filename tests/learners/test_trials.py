"""The faster of two ways, by a given clock: how often chance decides, and that it ends."""

import random
from collections.abc import Callable

import pytest

from sesemi_like.learners import trials
from sesemi_like.learners.trials import is_faster


class Ways:
    """Two ways whose durations are drawn, and the clock that they advance."""

    def __init__(self, usual: Callable[[], float], other: Callable[[], float]) -> None:
        self.seconds, self.runs = 0.0, 0
        self.durations = {"usual": usual, "other": other}

    def run(self, name: str) -> None:
        self.seconds += self.durations[name]()
        self.runs += 1

    def clock(self) -> float:
        return self.seconds

    def is_faster(self) -> bool:
        return is_faster(lambda: self.run("other"), lambda: self.run("usual"), self.clock)


@pytest.mark.parametrize(
    ("usual", "other", "expected"), [(1.0, 0.5, True), (1.0, 0.96, False), (1.0, 2.0, False)]
)
def test_a_clear_case_takes_four_pairs(usual: float, other: float, expected: bool) -> None:
    ways = Ways(lambda: usual / 1000, lambda: other / 1000)
    assert ways.is_faster() is expected
    assert ways.runs == 8


def noisy(draws: random.Random, seconds: float) -> Callable[[], float]:
    """A step of 3 ms as it is measured: noise of a twelfth, and one in ten disturbed for long."""

    def draw() -> float:
        disturbed = 0.02 if draws.random() < 0.1 else 0.0
        return seconds * draws.lognormvariate(0, 0.08) + disturbed

    return draw


def share_of_wins(other_ms: float) -> float:
    draws = random.Random(0)
    found = [
        Ways(noisy(draws, 0.003), noisy(draws, other_ms / 1000)).is_faster() for _ in range(1000)
    ]
    return sum(found) / 1000


def test_noise_seldom_decides() -> None:
    """Two repeats and their minima, what one would do first, are wrong in a tenth of such cases."""
    assert share_of_wins(2.4) > 0.98
    assert share_of_wins(3.3) < 0.02


def test_a_wrong_decision_is_as_rare_as_the_test_says() -> None:
    """A pair goes to the better way with probability 0.8, so 1 of 257 decisions is wrong."""
    draws = random.Random(1)
    wrong = 0
    for _ in range(20_000):
        ways = Ways(lambda: 1e-3, lambda: 1e-4 if draws.random() < 0.8 else 2e-3)
        wrong += not ways.is_faster()
    assert wrong / 20_000 == pytest.approx(1 / 257, abs=0.0015)


def test_without_a_clear_lead_there_is_an_end_and_all_stays_as_usual() -> None:
    turns = iter([0.5, *[0.5, 2.0] * trials.MAX_PAIRS])
    ways = Ways(lambda: 1e-3, lambda: next(turns) / 1000)
    assert ways.is_faster() is False
    assert ways.runs == 2 * trials.MAX_PAIRS


@pytest.mark.parametrize(("others", "expected"), [([2.0, 2.0], True), ([2.0, 4.0], False)])
def test_slow_steps_are_not_tried_for_long(others: list[float], expected: bool) -> None:
    turns = iter(others)
    ways = Ways(lambda: 4.0, lambda: next(turns))
    assert ways.is_faster() is expected
    assert ways.runs == 4


def test_the_order_within_a_pair_does_not_decide() -> None:
    """The second run finds memory and caches ready, whichever way it is."""
    turns = iter([1e-3, 0.9e-3] * trials.MAX_PAIRS)
    ways = Ways(lambda: next(turns), lambda: next(turns))
    assert ways.is_faster() is False
    assert ways.runs == 2 * trials.MAX_PAIRS
