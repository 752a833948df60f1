"""Two processes train what one does, and say of it what one says."""

import csv
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from composing import composed
from processes import in_processes

from sesemi_like.config.check import check
from sesemi_like.data import DataModule
from sesemi_like.errors import NonFiniteLossError
from sesemi_like.learners.reductions import ReducedLoss, reduce_terms
from sesemi_like.learners.step_log import StepLog
from sesemi_like.models.heads.loss.base import LossOutputs, LossValues
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES

TINY = [
    "run.gpus=0", "run.precision=32", "run.num_iterations=4", "data.val=null", "data.test=null",
    "learner.hparams.model.backbone.widths=[4,8]", "++trainer.accelerator=cpu",
    "++trainer.log_every_n_steps=1",
]  # fmt: skip
ROTATION_ALONE = ["method=rotation", "learner.hparams.model.supervised_loss=null"]


def fit(folder: Path, processes: Any, *overrides: str) -> None:
    batches = [
        line
        for name, rows in {"supervised": 16, "unlabeled": 32}.items()
        for line in (f"++data.train.{name}.batch_size={rows}",
                     f"data.train.{name}.batch_size_per_gpu=null")
    ]  # fmt: skip
    where = [f"++trainer.devices={processes}", f"run.dir={folder}"]
    config = composed("quickstart", *TINY, *batches, *where, *overrides)
    run(config, check(config, MODES))


WITHOUT_BATCHNORM = [
    "learner.hparams.model.backbone._target_=processes.NetworkWithoutBatchNorm",
    "method=fixmatch",
    "learner.hparams.model.regularization_loss_heads.fixmatch.head.threshold=0.12",
]


# Three rows fall on two processes; the second process has none of the labels.
LOSSES = [torch.tensor([1.0, 2.0]), torch.tensor([6.0])]
HITS, LABELS = [1.0, math.nan], [2, 0]
MASK = [0.5, 0.25]


def bring_together(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo")
    count = torch.tensor(LABELS[rank])
    log = StepLog()
    reduced = reduce_terms(LossOutputs(LOSSES[rank]), "mean")
    log.add("a", reduced, 2.0, {"mask": torch.tensor(MASK[rank])}, len(LOSSES[rank]))
    hits = {"top1": torch.tensor(HITS[rank]), "none": torch.tensor(math.nan)}
    log.add("b", ReducedLoss(torch.tensor([1.0, math.nan][rank]), {}), 1.0, hits, count)
    terms = {
        "own": LossValues(LOSSES[rank], count=count, coefficient=0.5),
        "against": LossValues(LOSSES[rank], weights=LOSSES[rank], coefficient=-2.0),
    }
    log.add("c", reduce_terms(LossOutputs(terms), "weighted_mean"), 3.0, {}, 1)
    found = {name: value.item() for name, value in log.reduce(torch.device("cpu")).items()}
    (folder / f"together-{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


@contextmanager
def broken_at(number: Any, rank: int) -> Iterator[None]:
    """Breaks a batch of the second process alone."""
    make, calls = DataModule.on_after_batch_transfer, [0]

    def breaking(self: Any, batch: Any, index: Any) -> Any:
        made = make(self, batch, index)
        calls[0] += 1
        if (rank, calls[0]) == (1, number):
            made["supervised.image"] = made["supervised.image"] * math.nan
        return made

    patched: Any = DataModule
    patched.on_after_batch_transfer = breaking
    try:
        yield
    finally:
        patched.on_after_batch_transfer = make


def in_two(rank: int, folder: Path) -> None:
    bring_together(rank, folder)
    fit(folder / "two", 2, *WITHOUT_BATCHNORM, "learner.hparams.model.rows=on")
    with broken_at(2, rank):
        fit(folder / "skip", 2, "method=mean_teacher", "run.on_nonfinite=skip")
    with broken_at(2, rank), pytest.raises(NonFiniteLossError) as caught:
        fit(folder / "stop", 2, "method=mean_teacher", "++trainer.log_every_n_steps=3")
    (folder / f"stop-{rank}.txt").write_text(str(caught.value))
    fit(folder / "rotation", 2, *ROTATION_ALONE)
    (checkpoint,) = (folder / "rotation").rglob("last.ckpt")
    longer = ["run.num_iterations=6", f"run.resume_from_checkpoint={checkpoint}"]
    fit(folder / "resumed", 2, *ROTATION_ALONE, *longer)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("two")
    in_processes(in_two, made)
    fit(made / "one", 1, *WITHOUT_BATCHNORM)
    return made


def steps_of(folder: Path) -> Any:
    (path,) = folder.rglob("summary.json")
    return json.loads(path.read_text())["steps"]


@pytest.mark.slow
def test_rotation_without_a_supervised_loss_trains_and_resumes(folder: Path) -> None:
    assert steps_of(folder / "rotation") == 4
    assert steps_of(folder / "resumed") == 6
    states = [torch.load(next((folder / name).rglob("last.ckpt")), weights_only=True)["state_dict"]
              for name in ("rotation", "resumed")]  # fmt: skip
    first, last = states
    name = "networks.modules_by_name.classifier."
    assert torch.equal(first[f"{name}head.weight"], last[f"{name}head.weight"])
    assert not torch.equal(first[f"{name}backbone.layers.0.weight"],
                           last[f"{name}backbone.layers.0.weight"])  # fmt: skip


@pytest.mark.slow
def test_losses_and_metrics_are_those_of_all_rows(folder: Path) -> None:
    for rank in range(2):
        found = json.loads((folder / f"together-{rank}.json").read_text())
        assert found["train/a/loss"] == pytest.approx((1 + 2 + 6) / 3)
        assert found["train/a/weighted_loss"] == pytest.approx(2 * (1 + 2 + 6) / 3)
        assert found["train/a/weight"] == 2
        assert found["train/a/mask"] == pytest.approx((2 * 0.5 + 0.25) / 3)
        own, against = (1 + 2 + 6) / 2, (1 + 4 + 36) / (1 + 2 + 6)
        assert found["train/c/own"] == pytest.approx(own)
        assert found["train/c/against"] == pytest.approx(against)
        assert found["train/c/loss"] == pytest.approx(0.5 * own - 2 * against)
        assert found["train/c/weighted_loss"] == pytest.approx(3 * (0.5 * own - 2 * against))
        assert found["train/c/weight"] == 3
        assert found["train/b/top1"] == 1.0, "the process without labels spoils it"
        assert math.isnan(found["train/b/none"])
        assert math.isnan(found["train/b/loss"]), "a loss that is nan must not be left out"


def logged(folder: Path) -> Any:
    (path,) = folder.rglob("metrics.csv")
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["train/loss"]]


@pytest.mark.slow
def test_two_processes_log_what_one_logs(folder: Path) -> None:
    one, two = (logged(folder / name) for name in ("one", "two"))
    assert len(one) == len(two) == 4
    for expected, found in zip(one, two, strict=True):
        names = [name for name in expected if name.startswith("train/")]
        assert {"train/loss", "train/supervised/top1", "train/fixmatch/mask_rate"} <= set(names)
        for name in names:
            assert float(found[name]) == pytest.approx(float(expected[name]), rel=1e-3), name


@pytest.mark.slow
def test_a_broken_batch_of_one_process_stops_both_with_one_sentence(folder: Path) -> None:
    told = [(folder / f"stop-{rank}.txt").read_text() for rank in range(2)]
    assert told[0] == told[1]
    assert "step 2: the loss of supervised is nan; samples of supervised: " in told[0]
    assert not list((folder / "stop").rglob("summary.json"))


@pytest.mark.slow
def test_a_broken_batch_of_one_process_is_skipped_by_both(folder: Path) -> None:
    (path,) = (folder / "skip").rglob("summary.json")
    assert json.loads(path.read_text())["skipped_steps"] == 1
    state = torch.load(next((folder / "skip").rglob("last.ckpt")), weights_only=True)["state_dict"]
    assert all(value.isfinite().all() for value in state.values())
