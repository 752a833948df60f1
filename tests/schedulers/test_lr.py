"""Learning-rate schedules against tables by hand and torch's own polynomial decay."""

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import PolynomialLR as TorchPolynomialLR

from sesemi_like.schedulers import CosineLR, PolynomialLR


def optimizer(*rates: float) -> torch.optim.SGD:
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates or (1.0,)]
    return torch.optim.SGD(groups, lr=1.0)


def rates(schedule: torch.optim.lr_scheduler.LRScheduler, count: int) -> list[float]:
    """The first group's rate at each of `count` optimizer steps."""
    seen = []
    for _ in range(count):
        seen.append(schedule.optimizer.param_groups[0]["lr"])
        schedule.optimizer.step()
        schedule.step()
    return seen


def test_polynomial_by_hand() -> None:
    schedule = PolynomialLR(optimizer(1.0), max_iters=8, warmup_iters=4, warmup_lr=0.2)
    expected = [0.2, 0.4, 0.6, 0.8, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0, 0.0]
    assert rates(schedule, 11) == pytest.approx(expected)


def test_polynomial_with_a_root_by_hand() -> None:
    schedule = PolynomialLR(optimizer(0.1), max_iters=4, lr_pow=0.5)
    expected = [0.1, 0.1 * math.sqrt(0.75), 0.1 * math.sqrt(0.5), 0.05, 0.0]
    assert rates(schedule, 5) == pytest.approx(expected)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_polynomial_without_warm_up_is_torchs(power: float) -> None:
    ours = PolynomialLR(optimizer(0.3), max_iters=20, lr_pow=power)
    theirs = TorchPolynomialLR(optimizer(0.3), total_iters=20, power=power)
    assert rates(ours, 25) == pytest.approx(rates(theirs, 25), abs=1e-12)


def test_warm_up_in_epochs() -> None:
    schedule = PolynomialLR(optimizer(), max_iters=100, warmup_epochs=2.5, iters_per_epoch=4)
    assert rates(schedule, 12) == pytest.approx([*(k / 10 for k in range(10)), 1, 89 / 90])


def test_every_group_has_its_own_rate() -> None:
    schedule = PolynomialLR(optimizer(1.0, 0.1), max_iters=6, warmup_iters=2, warmup_lr=0.05)
    rates(schedule, 1)
    assert schedule.get_last_lr() == pytest.approx([0.525, 0.075])
    rates(schedule, 3)
    assert schedule.get_last_lr() == pytest.approx([0.5, 0.05])


def test_cosine_is_fixmatchs() -> None:
    schedule = CosineLR(optimizer(0.03), max_iters=50)
    expected = [0.03 * math.cos(7 * math.pi * k / (16 * 50)) for k in range(51)]
    assert rates(schedule, 53) == pytest.approx([*expected, expected[-1], expected[-1]])


def test_cosine_with_warm_up_to_zero() -> None:
    schedule = CosineLR(optimizer(2.0), max_iters=5, warmup_iters=2, num_cycles=0.5)
    expected = [0.0, 1.0, 2.0, 2 * math.cos(math.pi / 6), 1.0, 0.0, 0.0]
    assert rates(schedule, 7) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", [PolynomialLR, CosineLR])
@pytest.mark.parametrize("stopped_after", [2, 5, 9])
def test_resumes_where_it_stopped(kind: type[Any], stopped_after: int) -> None:
    settings = {"max_iters": 12, "warmup_iters": 4, "warmup_lr": 0.1}
    whole = rates(kind(optimizer(), **settings), 14)
    first = kind(optimizer(), **settings)
    rates(first, stopped_after)
    saved = first.optimizer.state_dict(), first.state_dict()
    second = kind(optimizer(), **settings)
    second.optimizer.load_state_dict(saved[0])
    second.load_state_dict(saved[1])
    assert rates(second, 14 - stopped_after) == whole[stopped_after:]


def test_a_longer_run_resumes_with_its_own_length() -> None:
    short = PolynomialLR(optimizer(), max_iters=10)
    rates(short, 5)
    long = PolynomialLR(optimizer(), max_iters=20)
    long.load_state_dict(short.state_dict())
    assert rates(long, 2)[1] == pytest.approx(1 - 6 / 20)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_iters": None}, "max_iters: found None"),
        ({"max_iters": 0}, "max_iters: found 0"),
        ({"max_iters": 5, "warmup_iters": 5}, "more than the 5 of the warm-up"),
        ({"max_iters": 9, "warmup_epochs": 1}, "iters_per_epoch: found None"),
        ({"max_iters": 9, "warmup_epochs": 1, "iters_per_epoch": 2, "warmup_iters": 2}, "only one"),
    ],
)
@pytest.mark.parametrize("kind", [PolynomialLR, CosineLR])
def test_settings_that_cannot_work_are_named(
    kind: type[Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind(optimizer(), **settings)


def test_shapes_that_cannot_work_are_named() -> None:
    with pytest.raises(ValueError, match="lr_pow: found 0"):
        PolynomialLR(optimizer(), max_iters=3, lr_pow=0)
    with pytest.raises(ValueError, match="num_cycles: found 1"):
        CosineLR(optimizer(), max_iters=3, num_cycles=1)
