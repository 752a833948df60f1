"""Runs from config to summary: what they write, and what is left of those that cannot begin."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import composed
from fixture_types import OpenCli
from omegaconf import OmegaConf
from tiny_runs import TINY, fit, small_images, weights

from sesemi_like.config.check import check
from sesemi_like.errors import ConfigError, ConfigProblem
from sesemi_like.learners import Classifier
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES


def test_a_run_folder_holds_everything(finished_run: Any) -> None:
    folder, summary = finished_run
    assert summary["status"] == "finished"
    assert summary["steps"] == 10
    assert (folder / "checkpoints" / "last.ckpt").is_file()
    assert list((folder / "tensorboard").glob("events.*"))
    resolved = OmegaConf.load(folder / "config.yaml")
    assert resolved.learner.hparams.lr_scheduler.scheduler.max_iters == 10
    assert resolved.learner.hparams.lr_scheduler.scheduler.iters_per_epoch == 5


def test_the_label_list_names_forty_labels_of_training_alone(finished_run: Any) -> None:
    with (finished_run[0] / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["loader"] for row in rows} == set(finished_run[1]["labels"]) == {"supervised"}
    assert len(rows) == len({row["id"] for row in rows}) == 40
    counts = {label: sum(row["class"] == label for row in rows) for label in "0123456789"}
    assert set(counts.values()) == {4}


def test_metrics_are_a_table(finished_run: Any) -> None:
    with (finished_run[0] / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    losses = [row for row in rows if row["train/loss"]]
    assert len(losses) == 10
    for row in losses:
        parts = float(row["train/supervised/weighted_loss"]) + float(
            row["train/fixmatch/weighted_loss"]
        )
        assert float(row["train/loss"]) == pytest.approx(parts, rel=1e-5)
    assert [row["val/top1"] for row in rows if row["val/top1"]]


def test_a_checkpoint_is_safe_to_load_and_rebuilds_the_learner(finished_run: Any) -> None:
    path = finished_run[0] / "checkpoints" / "last.ckpt"
    assert torch.load(path, weights_only=True)["global_step"] == 10
    rebuilt = Classifier.load_from_checkpoint(path, weights_only=True)
    assert rebuilt.networks["classifier"](torch.zeros(2, 1, 8, 8))["logits"].shape == (2, 10)


def test_the_same_seed_gives_the_same_weights(finished_run: Any, tmp_path: Path) -> None:
    folder, summary = fit(tmp_path)
    first, second = (weights(f) for f in (finished_run[0], folder))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    assert summary["metrics"] == finished_run[1]["metrics"]


@pytest.mark.parametrize("method", ["supervised", "rotation", "jigsaw", "entropy_minimization",
                                    "pi_model", "mean_teacher"])  # fmt: skip
def test_every_method_trains(method: str, tmp_path: Path) -> None:
    _, summary = fit(tmp_path, f"method={method}", "run.num_iterations=3")
    assert summary["steps"] == 3


def test_a_failing_check_leaves_no_folder(tmp_path: Path) -> None:
    config = composed("quickstart", *TINY, f"run.dir={tmp_path}/runs", "++trainer.max_epcohs=3")
    with pytest.raises(ConfigError, match="did you mean 'max_epochs'"):
        run(config)
    shutil.rmtree(tmp_path / "runs" / "quickstart")  # its parent alone is there, and empty
    config = composed("quickstart", *TINY, f"run.dir={tmp_path}/runs",
                      "learner.hparams.num_classes=7")  # fmt: skip
    with pytest.raises(ConfigError, match=r"num_classes: found 7; the data have 10 classes"):
        run(config)
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize("rank", [0, 1])
def test_every_process_reports_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    # A folder that is not empty, as another process may leave it, or that is not there at all.
    def no_trainer(
        config: Any,
        section: Any,
        devices: Any,
        evaluation: Any,
        most: Any,
        folder: Path,
        headline: Any,
    ) -> None:
        if rank == 0:
            (folder / "left.txt").write_text("of another process")
        raise ConfigError([ConfigProblem("trainer", None, "no trainer")])

    monkeypatch.setattr("sesemi_like.run.execute.build_trainer", no_trainer)
    monkeypatch.setattr("sesemi_like.run.execute.rank_zero_only.rank", rank)
    monkeypatch.setenv("SESEMI_LIKE_RUN_FOLDER", str(tmp_path / "never made"))
    config = composed("quickstart", *TINY, f"run.dir={tmp_path}")
    with pytest.raises(ConfigError, match="no trainer"):
        run(config)


@pytest.mark.slow
def test_two_processes_train_as_one(open_cli: OpenCli, tmp_path: Path) -> None:
    two = ["++trainer.devices=2", "++trainer.accelerator=cpu", "run.accelerator=dp"]
    done = open_cli(
        "-cn", "quickstart", *TINY, *two, "data.train.unlabeled.batch_size_per_gpu=128"
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "runs as ddp" in done.stdout + done.stderr
    (path,) = tmp_path.glob("runs/*/*/summary.json")
    assert json.loads(path.read_text())["devices"] == "2 x cpu"
    assert len(list((tmp_path / "runs" / "quickstart").iterdir())) == 1


@pytest.mark.slow
def test_a_sweep_makes_a_finished_folder_for_each_run(open_cli: OpenCli, tmp_path: Path) -> None:
    done = open_cli("-m", "-cn", "quickstart", *TINY, "run.num_iterations=5,10",
                    "learner.hparams.model.backbone.widths=[4]")  # fmt: skip
    assert done.returncode == 0, done.stderr
    steps, lengths = [], []
    for path in tmp_path.glob("runs/*/*/summary.json"):
        steps.append(json.loads(path.read_text())["steps"])
        config = OmegaConf.load(path.with_name("config.yaml"))
        lengths.append(config.learner.hparams.lr_scheduler.scheduler.max_iters)
    assert sorted(steps) == sorted(lengths) == [5, 10]


def test_the_last_step_is_validated_wherever_an_epoch_ends(tmp_path: Path) -> None:
    folder, summary = fit(tmp_path, "run.num_iterations=7")  # five steps an epoch
    with (folder / "metrics.csv").open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["val/top1"]]
    assert steps == [4, 6]
    assert summary["steps"] == 7
    assert "train/loss" in summary["training"]


def test_the_loss_of_training_can_be_monitored_however_seldom_it_is_written(tmp_path: Path) -> None:
    stopping = (
        "{_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: train/loss,"
        " check_on_train_epoch_end: true, min_delta: 100, patience: 1}"
    )
    _, summary = fit(
        tmp_path, f"++trainer.callbacks=[{stopping}]", "++trainer.log_every_n_steps=1000"
    )
    assert summary["steps"] == 10  # the second epoch brings no 100 less
    assert summary["training"]["train/loss"] > 0


def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = composed("quickstart", *TINY, f"run.dir={tmp_path}/file/runs")
    with pytest.raises(ConfigError, match=r"run\.dir: .*no folder can be made"):
        run(config)


def test_the_figure_of_a_run_is_never_chosen_by_the_test(tmp_path: Path) -> None:
    _, summary = fit(tmp_path)
    assert summary["headline"] == summary["metrics"]["val/top1"]


def test_unreadable_images_are_named_in_the_summary(tmp_path: Path, cifar10_images: Path) -> None:
    root = tmp_path / "images"
    shutil.copytree(cifar10_images, root)
    broken = sorted((root / "train").rglob("*.jpg"))[5]
    broken.write_bytes(broken.read_bytes()[:200])
    loaders = [f"++data.train.{name}.dataset.on_error=skip" for name in ("supervised", "unlabeled")]
    config = composed("imagewang", *small_images(root, tmp_path), *loaders)
    run(config, check(config, MODES))
    summary = json.loads(next(tmp_path.glob("*/*/summary.json")).read_text())
    name = str(broken.relative_to(root))
    assert summary["skipped"] == {"supervised": [name], "unlabeled": [name]}
