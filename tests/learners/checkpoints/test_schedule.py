"""Checkpoints are due by steps or by the first process's clock, whatever the others' show."""

from typing import Any

import pytest
from processes import in_processes

from sesemi_like.config.intervals import Interval, parse_interval
from sesemi_like.learners.checkpoints.schedule import SaveSchedule


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (500, Interval(steps=500)),
        ("500 steps", Interval(steps=500)),
        ("1 step", Interval(steps=1)),
        ("10 minutes", Interval(seconds=600)),
        ("1.5 hours", Interval(seconds=5400)),
        ("90 seconds", Interval(seconds=90)),
    ],
)
def test_forms_of_an_interval(text: Any, expected: Interval) -> None:
    assert parse_interval(text) == expected


@pytest.mark.parametrize("text", [0, -1, True, 0.5, "0 steps", "1.5 steps", "10", "2 epochs", ""])
def test_other_forms_are_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="needs 500 or '500 steps'"):
        parse_interval(text)


def due(schedule: SaveSchedule, steps: range) -> list[int]:
    return [step for step in steps if schedule.is_due(step)]


def test_batches_that_add_to_the_gradients_of_a_step_are_passed_over() -> None:
    schedule = SaveSchedule(Interval(steps=2))
    schedule.start(0)
    assert [schedule.is_due(step) for step in (0, 1, 1, 2, 2, 3, 4)] == [
        False, False, False, True, False, False, True,
    ]  # fmt: skip


def test_the_clock_is_read_at_every_step_of_one_process() -> None:
    now = iter(range(100))  # a second a step
    schedule = SaveSchedule(Interval(seconds=10), lambda: float(next(now)))
    schedule.start(5)
    assert due(schedule, range(6, 30)) == [15, 25]  # as counting anew takes a second


def schedule_of_process(rank: int, folder: Any) -> None:
    import torch.distributed as dist

    dist.init_process_group("gloo")
    now = [0.0]
    schedule = SaveSchedule(Interval(seconds=10), lambda: now[0])
    schedule.start(0)
    found = []
    for step in range(1, 60):
        now[0] += 1.0 if rank == 0 else 0.1
        if schedule.is_due(step):
            found.append(step)
    (folder / str(rank)).write_text(str(found))


def test_processes_go_by_the_first_one_s_clock(tmp_path: Any) -> None:
    in_processes(schedule_of_process, tmp_path)
    first, second = ((tmp_path / str(rank)).read_text() for rank in range(2))
    assert first == second
    assert first == "[10, 20, 30, 40, 50]"
