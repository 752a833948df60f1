"""Worker processes: in proportion to the batches, and never more than there are CPUs."""

import os
from typing import Any

import pytest

from sesemi_like.data.loading.workers import assign_workers, usable_cpus

SIZES = {"train.supervised": 16, "train.unlabeled": 112, "val": 500}


def shared(asked: dict[str, Any], cpus: int, looks_up: tuple[str, ...] = ()) -> dict[str, int]:
    return assign_workers(asked, SIZES, {name: name in looks_up for name in asked}, cpus)


def test_auto_follows_the_batch_sizes() -> None:
    asked = dict.fromkeys(SIZES, "auto")
    assert shared(asked, 16) == {"train.supervised": 2, "train.unlabeled": 14, "val": 4}
    assert shared(asked, 2) == {"train.supervised": 1, "train.unlabeled": 1, "val": 2}


def test_a_train_loader_called_val_gets_its_share() -> None:
    found = assign_workers({"train.val": "auto"}, {"train.val": 8}, {"train.val": False}, 16)
    assert found == {"train.val": 16}


def test_what_is_only_looked_up_needs_no_worker() -> None:
    asked = dict.fromkeys(SIZES, "auto")
    found = shared(asked, 8, looks_up=("train.unlabeled", "val"))
    assert found == {"train.supervised": 8, "train.unlabeled": 0, "val": 0}


@pytest.mark.parametrize(("asked", "given"), [(0, 0), (1, 1), (8, 2)])
def test_a_number_is_taken_up_to_the_cpus(asked: int, given: int) -> None:
    assert shared({"train.unlabeled": asked}, 2) == {"train.unlabeled": given}


def test_processes_on_a_machine_share_its_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert [usable_cpus(n) for n in (1, 2, 3, 16)] == [8, 4, 2, 1]
