"""Evaluation by two processes: the figures of one, each sample predicted by one of them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import composed
from processes import in_processes
from tiny_runs import TINY, fit

from sesemi_like.config.check import check
from sesemi_like.data import DataModule
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES

EVALUATED = [
    "method=supervised", "evaluation=losses", "run.precision=32",
    "+run.evaluators.knn={_target_: sesemi_like.evaluation.KNN, data: labeled, sets: [other]}",
    "data.evaluation={labeled: {dataset: {name: digits, subset: train, num_labels: 301}},"
    " other: {dataset: {name: digits, subset: test, num_rows: 101}, batch_size_per_gpu: 20}}",
    "run.batch_size_per_gpu=64", "+run.evaluators.losses.sets=[other]",
]  # fmt: skip
"""Rows that two processes cannot share evenly."""


BEST = ["run.headline=val/loss", "trainer.callbacks=null"]


def validate(rank: int, folder: Path, checkpoint: Path, processes: int) -> None:
    seen: list[int] = []
    through: Any = DataModule.evaluation_loader

    def counted(self: Any, *arguments: Any) -> Any:
        for batch in through(self, *arguments):
            seen.extend(batch["index"].tolist())
            yield batch

    module: Any = DataModule
    module.evaluation_loader = counted
    config = composed(
        "quickstart", *TINY, *EVALUATED, "run.mode=VALIDATE", f"run.dir={folder}",
        f"run.pretrained_checkpoint_path='{checkpoint}'", "++trainer.accelerator=cpu",
        f"++trainer.devices={processes}",
    )  # fmt: skip
    run(config, check(config, MODES))
    torch.save(seen, folder / f"seen-{rank}.pt")


@pytest.mark.slow
def test_two_processes_measure_what_one_measures(tmp_path: Path) -> None:
    trained, _ = fit(tmp_path / "trained", "method=supervised", "run.precision=32")
    figures, seen = [], []
    for count in (1, 2):
        folder = tmp_path / str(count)
        folder.mkdir()
        path = trained / "checkpoints" / "last.ckpt"
        in_processes(validate, folder, path, count, count=count)
        (summary,) = folder.glob("*/*/summary.json")
        figures.append(json.loads(summary.read_text())["metrics"])
        seen.append([len(torch.load(folder / f"seen-{rank}.pt")) for rank in range(count)])
    one, two = figures
    assert {"val/knn_top1", "val/other/knn_top1", "val/loss", "val/other/supervised/loss"} <= set(
        one
    )
    assert two == pytest.approx(one, rel=1e-6)
    ((whole,), (first, second)) = seen
    assert first == second
    assert whole <= first + second <= whole + 2


def test_the_loss_of_a_head_is_the_cross_entropy_of_all_labeled_samples(tmp_path: Path) -> None:
    plain = ["method=supervised", "learner.hparams.model.ema=null"]
    plain += ["learner.hparams.model.supervised_loss.scale_factor=3", "run.precision=32"]
    _, losses = fit(tmp_path / "losses", *plain, "evaluation=losses", *BEST)
    _, accuracy = fit(tmp_path / "accuracy", *plain)
    expected = accuracy["metrics"]["val/loss"]
    assert losses["metrics"]["val/supervised/loss"] == pytest.approx(expected, rel=1e-5)
    assert losses["metrics"]["val/loss"] == pytest.approx(3 * expected, rel=1e-5)
    assert losses["metrics"]["val/top1"] == accuracy["metrics"]["val/top1"]
    assert losses["best"]["monitor"] == losses["judged_by"]["name"] == "val/loss"
    assert losses["headline"] == losses["best"]["score"] <= losses["metrics"]["val/loss"]
    assert accuracy["judged_by"]["name"] == "val/top1"
