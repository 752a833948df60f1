"""A run ends where its schedules end, and its status reports when it was stopped before."""

import json
from pathlib import Path
from typing import Any

import pytest
from composing import composed
from omegaconf import OmegaConf

from sesemi_like.config.check import check
from sesemi_like.errors import ConfigError
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES
from sesemi_like.run.prepare import prepare

# Five steps an epoch: floor(1437 / 256).
TINY = [
    "run.gpus=0", "run.num_iterations=10", "data.train.unlabeled.repeat=1",
    "data.train.supervised.repeat=1", "++data.train.unlabeled.batch_size_per_gpu=256",
    "learner.hparams.model.backbone.widths=[4,8]", "data.test=null",
]  # fmt: skip
OPEN = "run.num_iterations=null"


def fit(folder: Path, *overrides: str) -> Any:
    config = composed("quickstart", *TINY, f"run.dir={folder}", *overrides)
    run(config, check(config, MODES))
    (path,) = folder.rglob("summary.json")
    schedule = OmegaConf.load(path.parent / "config.yaml").learner.hparams.lr_scheduler
    return json.loads(path.read_text()), schedule


@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        ([OPEN, "++trainer.max_steps=4"], 4),
        ([OPEN, "++trainer.max_epochs=2", "++trainer.accumulate_grad_batches=2"], 6),
        ([OPEN, "run.num_epochs=3", "++trainer.overfit_batches=2"], 6),
        (["++trainer.fast_dev_run=3"], 3),
    ],
)
def test_schedules_end_where_the_run_ends(overrides: Any, steps: int, tmp_path: Path) -> None:
    summary, schedule = fit(tmp_path, *overrides)
    assert summary["steps"] == schedule.scheduler.max_iters == steps
    assert summary["status"] == "finished"


def test_a_run_with_a_time_limit_needs_no_length_and_is_reported_as_stopped(
    tmp_path: Path,
) -> None:
    endless = [OPEN, "++trainer.max_epochs=-1", "++trainer.max_time=00:00:00:01"]
    summary, _ = fit(tmp_path, *endless, "lr_scheduler=constant", "data.val=null")
    assert summary["status"] == "stopped: max_time"
    assert summary["steps"] > 0


def test_a_schedule_of_a_run_without_end_is_reported() -> None:
    endless = [OPEN, "++trainer.max_epochs=-1", "++trainer.max_time=00:00:00:01"]
    with pytest.raises(ConfigError, match=r"needs the steps of the run"):
        prepare(composed("quickstart", *TINY, *endless))


def test_early_stopping_counts_as_finished_and_gives_its_reason(tmp_path: Path) -> None:
    stopping = (
        "{_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: val/top1, mode: max,"
        "patience: 1, min_delta: 2}"
    )
    summary, _ = fit(tmp_path, "run.num_iterations=50", f"trainer.callbacks=[{stopping}]")
    assert summary["status"] == "finished"
    assert "val/top1" in summary["reason"]
    assert summary["steps"] == 10


def test_overfitting_sees_the_same_batches_in_every_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    from sesemi_like.learners import Classifier

    class Watched(Classifier):
        def training_step(self, batch: Any, batch_idx: Any) -> Any:
            seen.append(tuple(batch["unlabeled.index"].tolist()))
            return super().training_step(batch, batch_idx)

    monkeypatch.setattr("sesemi_like.Classifier", Watched)
    fit(tmp_path, OPEN, "run.num_epochs=2", "++trainer.overfit_batches=2", "data.val=null")
    assert seen[:2] == seen[2:]
    assert seen[0] != seen[1]


def test_an_epoch_without_batches_is_reported() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.limit_train_batches: found 0\.1; leaves no"):
        prepare(composed("quickstart", *TINY, "++trainer.limit_train_batches=0.1"))
