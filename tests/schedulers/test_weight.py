"""Schedules of a loss weight against their equations."""

import math
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sesemi_like
from sesemi_like.schedulers.weight import (
    ConstantSchedule,
    CosineSchedule,
    LinearSchedule,
    SigmoidSchedule,
    StepSchedule,
)

RAMPS = [LinearSchedule, SigmoidSchedule, CosineSchedule]
RUN = {"max_iterations": 100}


def test_constant() -> None:
    assert [ConstantSchedule()(k) for k in (0, 10**6)] == [1.0, 1.0]
    assert ConstantSchedule(0)(5) == 0


def test_step_by_hand() -> None:
    schedule = StepSchedule(0.5, 2, delay="50%", max_iterations=6)
    assert [schedule(k) for k in range(7)] == [0.5, 0.5, 0.5, 2, 2, 2, 2]


def test_linear_by_hand() -> None:
    schedule = LinearSchedule(1, 3, duration=4, delay=2)
    assert [schedule(k) for k in range(8)] == [1, 1, 1, 1.5, 2, 2.5, 3, 3]


def test_linear_may_fall() -> None:
    schedule = LinearSchedule(1, 0, duration="1 epoch", iterations_per_epoch=4)
    assert [schedule(k) for k in range(6)] == [1, 0.75, 0.5, 0.25, 0, 0]


def test_sigmoid_is_the_ramp_up_of_laine_and_aila() -> None:
    schedule = SigmoidSchedule(0, 30, duration=80)
    for k in range(80):
        assert schedule(k) == pytest.approx(30 * math.exp(-5 * (1 - k / 80) ** 2))
    assert schedule(80) == schedule(10**6) == 30


def test_cosine_by_hand() -> None:
    schedule = CosineSchedule(duration=6)
    half = math.sqrt(3) / 2
    expected = [0, (1 - half) / 2, 0.25, 0.5, 0.75, (1 + half) / 2, 1, 1]
    assert [schedule(k) for k in range(8)] == pytest.approx(expected)


@pytest.mark.parametrize("ramp", RAMPS)
def test_ramps_start_after_the_delay_and_never_turn_back(ramp: type[Any]) -> None:
    schedule = ramp(0.1, 0.9, duration="2 epochs", delay=0.1, iterations_per_epoch=50, **RUN)
    values = [schedule(k) for k in range(200)]
    assert values[:10] == [0.1] * 10
    assert values[110:] == [0.9] * 90
    assert values == sorted(values)
    assert len(set(values[10:110])) == 100


@pytest.mark.parametrize("ramp", RAMPS)
def test_no_duration_changes_at_once(ramp: type[Any]) -> None:
    schedule = ramp(0, 1, duration=0, delay=3)
    assert [schedule(k) for k in range(5)] == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("setting", [{"duration": "soon"}, {"duration": 5, "delay": "2 days"}])
def test_unreadable_durations_fail_at_construction(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs 500 or '500 steps'"):
        LinearSchedule(**setting)


def test_a_missing_length_fails_at_the_first_call_alone() -> None:
    schedule = LinearSchedule(duration="30%", iterations_per_epoch=5)
    with pytest.raises(ValueError, match="'30%' needs max_iterations; found None"):
        schedule(0)


@pytest.mark.parametrize("ramp", RAMPS)
def test_schedules_can_be_pickled(ramp: type[Any]) -> None:
    schedule = ramp(duration=10)
    schedule(3)
    assert pickle.loads(pickle.dumps(schedule))(3) == schedule(3)


def test_schedules_of_weights_are_plain_python() -> None:
    folder = Path(sesemi_like.__file__).parent / "schedulers"
    program = (
        "import importlib, sys, types\n"
        "package = types.ModuleType('schedulers')\n"
        f"package.__path__ = [{str(folder)!r}]\n"
        "sys.modules['schedulers'] = package\n"
        "weight = importlib.import_module('schedulers.weight')\n"
        "assert weight.LinearSchedule(duration=2)(1) == 0.5\n"
        "print({'torch', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
