"""The length of a run by hand, and two lengths that contradict each other."""

from typing import Any

import pytest

from sesemi_like.config.length import RunLength, length_problems, run_length
from sesemi_like.run.modes import MODES


def run_of(**changes: Any) -> Any:
    return {"num_epochs": None, "num_iterations": None, "mode": "FIT", **changes}


CASES = [
    # run, trainer, batches of a pass -> batches of an epoch, steps of an epoch, steps of the run
    ({"num_iterations": 7}, {}, 5, (5, 5, 7)),
    ({"num_epochs": 3}, {}, 5, (5, 5, 15)),
    ({"num_epochs": 3}, {"accumulate_grad_batches": 2}, 5, (5, 3, 9)),
    ({"num_epochs": 3}, {"limit_train_batches": 2}, 5, (2, 2, 6)),
    ({"num_epochs": 3}, {"limit_train_batches": 9}, 5, (5, 5, 15)),
    ({"num_epochs": 3}, {"limit_train_batches": 0.5}, 5, (2, 2, 6)),
    ({"num_epochs": 3}, {"limit_train_batches": 1.0}, 5, (5, 5, 15)),
    ({"num_epochs": 3}, {"limit_train_batches": 1}, 5, (1, 1, 3)),
    ({"num_epochs": 3}, {"limit_train_batches": 0.1}, 5, (0, 0, 0)),
    ({"num_epochs": 3}, {"overfit_batches": 2, "limit_train_batches": 4}, 5, (2, 2, 6)),
    ({"num_epochs": 3}, {"overfit_batches": 0.4}, 5, (2, 2, 6)),
    ({"num_iterations": 7}, {"fast_dev_run": True}, 5, (1, 1, 1)),
    ({"num_iterations": 7}, {"fast_dev_run": 3, "accumulate_grad_batches": 2}, 5, (3, 2, 2)),
    ({"num_iterations": 7}, {"fast_dev_run": False}, 5, (5, 5, 7)),
    ({}, {"max_steps": 4}, 5, (5, 5, 4)),
    ({}, {"max_epochs": 2}, 5, (5, 5, 10)),
    ({}, {"max_epochs": 2, "max_steps": 8}, 5, (5, 5, 8)),
    ({}, {"max_epochs": 2, "max_steps": -1}, 5, (5, 5, 10)),
    ({}, {"max_epochs": -1, "max_time": "00:00:01:00"}, 5, (5, 5, None)),
    ({"num_iterations": 7}, {}, None, (None, None, 7)),
    ({"num_epochs": 2}, {"limit_train_batches": 6}, None, (6, 6, 12)),
    ({"num_epochs": 2}, {}, None, (None, None, None)),
]


@pytest.mark.parametrize(("run", "trainer", "batches", "expected"), CASES)
def test_length_by_hand(run: Any, trainer: Any, batches: Any, expected: Any) -> None:
    assert run_length(run_of(**run), trainer, batches) == RunLength(*expected)


@pytest.mark.parametrize(
    ("run", "trainer", "keys"),
    [
        ({"num_iterations": 7}, {"max_steps": 5}, ["trainer.max_steps"]),
        ({"num_iterations": 7}, {"max_steps": -1}, ["trainer.max_steps"]),
        ({"num_iterations": 7}, {"max_steps": 7}, []),
        ({"num_iterations": 7}, {"max_epochs": -1}, []),
        ({"num_iterations": 7}, {"max_epochs": 2}, ["trainer.max_epochs"]),
        ({"num_epochs": 2}, {"max_epochs": 2, "max_steps": -1}, []),
        ({"num_epochs": 2}, {"max_epochs": -1}, ["trainer.max_epochs"]),
        ({"num_epochs": 2}, {"max_steps": 5}, ["trainer.max_steps"]),
        ({"num_epochs": 2}, {"max_time": "00:00:01:00", "fast_dev_run": True}, []),
        ({}, {"max_epochs": 2, "max_steps": 9}, []),
        ({}, {"max_epochs": -1, "max_time": "00:00:01:00"}, []),
        ({}, {}, ["run.num_epochs"]),
        ({"mode": "TEST"}, {}, []),
    ],
)
def test_two_lengths_or_none_are_reported(run: Any, trainer: Any, keys: Any) -> None:
    mode = MODES[run_of(**run)["mode"]]
    problems = list(length_problems(run_of(**run), trainer, mode))
    assert [problem.key for problem in problems] == keys
    if run and keys:
        assert "give one length of the run" in problems[0].expected
