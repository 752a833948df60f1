"""Worker processes: in proportion to the batches, and never more than there are CPUs."""

import os
from typing import Any

import pytest

from sesemi_like.data.loading.workers import assign_workers, usable_cpus

SIZES = {"train.supervised": 16, "train.unlabeled": 112, "val": 500}


def assign(requests: dict[str, Any], cpus: int, lookups: tuple[str, ...] = ()) -> dict[str, int]:
    return assign_workers(requests, SIZES, {name: name in lookups for name in requests}, cpus)


def test_auto_follows_the_batch_sizes() -> None:
    requests = dict.fromkeys(SIZES, "auto")
    assert assign(requests, 16) == {"train.supervised": 2, "train.unlabeled": 14, "val": 4}
    assert assign(requests, 2) == {"train.supervised": 1, "train.unlabeled": 1, "val": 2}


def test_a_train_loader_called_val_gets_its_share() -> None:
    workers = assign_workers({"train.val": "auto"}, {"train.val": 8}, {"train.val": False}, 16)
    assert workers == {"train.val": 16}


def test_lookups_need_no_worker() -> None:
    requests = dict.fromkeys(SIZES, "auto")
    workers = assign(requests, 8, lookups=("train.unlabeled", "val"))
    assert workers == {"train.supervised": 8, "train.unlabeled": 0, "val": 0}


@pytest.mark.parametrize(("requested", "assigned"), [(0, 0), (1, 1), (8, 2)])
def test_a_number_is_taken_up_to_the_cpus(requested: int, assigned: int) -> None:
    assert assign({"train.unlabeled": requested}, 2) == {"train.unlabeled": assigned}


def test_processes_on_a_machine_share_its_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert [usable_cpus(n) for n in (1, 2, 3, 16)] == [8, 4, 2, 1]
