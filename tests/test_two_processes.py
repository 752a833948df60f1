"""Two processes train as one does, and go on as if they had not been killed when resumed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from processes import checkpoint, draws, in_processes, train, weights
from torch.multiprocessing import ProcessExitedException

HEADS = "learner.hparams.model.regularization_loss_heads"
FIXMATCH = [
    "method=fixmatch",
    f"{HEADS}.fixmatch.head={{_target_: processes.FixMatchAwayFromTies, threshold: 0.3}}",
]
FREEMATCH = f"{HEADS}.freematch.head"
METHODS = {
    "supervised": ["method=supervised"],
    "fixmatch": FIXMATCH,
    "flexmatch": ["method=flexmatch", f"{HEADS}.flexmatch.head.policy.threshold=0.3"],
    "freematch": [
        "method=freematch",
        f"{FREEMATCH}.policy.momentum=0.9",
        f"{FREEMATCH}.terms.fairness.coefficient=0.1",
    ],
    "mean_teacher": ["method=mean_teacher"],
    "rotation": ["method=rotation"],
}
DROPOUT = {"dropout": ["method=supervised", "learner.hparams.model.backbone.drop_rate=0.3"]}
KILLED, KEPT = 30, 20  # in the middle of an epoch of 25 steps, and in that before


def train_all(rank: int, folder: Path, processes: Any) -> None:
    for method, overrides in (METHODS | DROPOUT).items():
        train(folder / method, processes, overrides)


def train_and_die(rank: int, folder: Path, method: str) -> None:
    train(folder / method, 2, (METHODS | DROPOUT)[method], end=KILLED)


def resume_all(rank: int, stopped: Any, folder: Path) -> None:
    for method, overrides in (METHODS | DROPOUT).items():
        path = checkpoint(stopped / method, KEPT)
        train(folder / method, 2, [*overrides, f"run.resume_from_checkpoint='{path}'"])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Folders of runs of every method: of one process, of two, of two that were resumed."""
    one, two, stopped, resumed = (tmp_path_factory.mktemp(n) for n in ("1", "2", "killed", "again"))
    in_processes(train_all, one, 1, count=1)
    in_processes(train_all, two, 2)
    for method in METHODS | DROPOUT:
        with pytest.raises(ProcessExitedException):
            in_processes(train_and_die, stopped, method)
    in_processes(resume_all, stopped, resumed)
    return {"one": one, "two": two, "resumed": resumed}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_two_processes_end_with_the_weights_of_one(runs: Any, method: Any) -> None:
    expected, found = (weights(runs[name] / method, 60) for name in ("one", "two"))
    begin = weights(runs["one"] / method, 20)
    assert expected.keys() == found.keys()
    moved = max((expected[name] - begin[name]).abs().max() for name in begin if "weight" in name)
    assert moved > 0.01, "nothing was learned in between, so this would show nothing"
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=3e-6, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS | DROPOUT)
def test_two_processes_that_were_killed_go_on_as_if_they_had_not_been(
    runs: Any, method: Any
) -> None:
    expected, found = (weights(runs[name] / method, 60) for name in ("two", "resumed"))
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0, msg=name)


@pytest.mark.slow
def test_every_process_has_generators_of_its_own_and_goes_on_with_them(runs: Any) -> None:
    first, second = (draws(runs["two"] / "dropout", rank) for rank in range(2))
    assert all(first[name] != second[name] for name in first)
    assert draws(runs["one"] / "dropout", 0)["numpy"] == first["numpy"]  # which nothing drew from
    for rank, expected in enumerate((first, second)):
        assert draws(runs["resumed"] / "dropout", rank) == expected
