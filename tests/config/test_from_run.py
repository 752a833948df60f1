"""`run.from_run`: an earlier run's config and weights, with what the command line changes."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import composed
from omegaconf import OmegaConf

from sesemi_like.config.check import check
from sesemi_like.config.from_run import (
    FROM_RUN,
    composed_text,
    refuse_in_file,
    register_earlier_run,
)
from sesemi_like.errors import ConfigError
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES

# What a person may have said on the command line of the training run, and lost afterwards.
TINY = [
    "run.gpus=0",
    "run.num_iterations=10",
    "++trainer.log_every_n_steps=1",
    "data.labels_per_class=3",
    "data.train.unlabeled.repeat=1",
    "data.train.supervised.repeat=1",
    "data.train.unlabeled.batch_size_per_gpu=256",
    "data.label_seed=3",
    "learner.hparams.model.backbone.widths=[4,8]",
]


def begun(*overrides: str, name: str = "sesemi_config") -> Any:
    """The config that a command line with these overrides composes."""
    return composed(register_earlier_run(name, overrides, MODES), *overrides)


def done(config: Any, folder: Path) -> Any:
    """Runs a config; returns the run's folder and summary."""
    run(config, check(config, MODES))
    (path,) = folder.glob("*/*/summary.json")
    return path.parent, json.loads(path.read_text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("trained")
    return done(composed("quickstart", *TINY, f"run.dir={folder}"), folder)


def test_a_test_of_a_run_gives_its_figure_again_whatever_its_command_line_was(
    trained: Any, tmp_path: Path
) -> None:
    folder, summary = trained
    config = begun(f"run.from_run={folder}", "run.mode=TEST", f"run.dir={tmp_path}")
    _, tested = done(config, tmp_path)
    assert tested["metrics"]["test/top1"] == summary["metrics"]["test/top1"]
    assert tested["seed"] == summary["seed"]


def test_validation_data_may_stand_in_for_test_data(trained: Any, tmp_path: Path) -> None:
    folder, summary = trained
    overrides = ["run.mode=TEST", "data.test=${data.val}"]
    config = begun(f"run.from_run={folder}", *overrides, f"run.dir={tmp_path}")
    _, tested = done(config, tmp_path)
    assert tested["metrics"]["test/top1"] == summary["metrics"]["val/top1"]


def test_a_longer_run_goes_on_from_the_last_checkpoint_with_schedules_of_its_length(
    trained: Any, tmp_path: Path
) -> None:
    folder, _ = trained
    config = begun(f"run.from_run={folder}", "run.num_iterations=15", f"run.dir={tmp_path / 'a'}")
    assert config.run.resume_from_checkpoint == str(folder / "checkpoints" / "last.ckpt")
    longer, summary = done(config, tmp_path / "a")
    assert summary["steps"] == 15
    resolved = OmegaConf.load(longer / "config.yaml")
    assert resolved.learner.hparams.lr_scheduler.scheduler.max_iters == 15
    by_hand = [*TINY, "run.num_iterations=15", f"run.dir={tmp_path / 'b'}"]
    resume = f"run.resume_from_checkpoint={folder / 'checkpoints' / 'last.ckpt'}"
    other, _ = done(composed("quickstart", *by_hand, resume), tmp_path / "b")
    states = [
        torch.load(f / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for f in (longer, other)
    ]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    with (longer / "metrics.csv").open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert steps == [10, 11, 12, 13, 14]


def test_interpolations_stay_open_so_that_a_change_reaches_all_that_follows_it(
    trained: Any,
) -> None:
    folder, _ = trained
    config = begun(f"run.from_run={folder}", "data.label_seed=4", "data.labels_per_class=7")
    assert config.data.train.unlabeled.dataset.label_seed == 4
    assert config.data.train.supervised.dataset.labels_per_class == 7
    assert config.data.test.dataset.split_seed == 4


def test_words_of_the_command_line_go_before_the_folder(trained: Any) -> None:
    folder, _ = trained
    given = f"run.from_run={folder}"
    run_of = begun(given, "run.mode=TEST", "run.pretrained_checkpoint_path=other.ckpt").run
    assert run_of.pretrained_checkpoint_path == "other.ckpt"
    assert run_of.resume_from_checkpoint is None
    run_of = begun(given, "run.resume_from_checkpoint=null").run
    assert (run_of.resume_from_checkpoint, run_of.pretrained_checkpoint_path) == (None, None)
    hparams = begun(given, "optimizer=adam", "backbone=wrn_28_2").learner.hparams
    assert "momentum" not in hparams.optimizer
    assert "widths" not in hparams.model.backbone
    assert hparams.num_classes == 10
    assert begun(given, "evaluation=knn").run.evaluators.knn.data == "supervised"
    assert begun(given, "method=supervised").learner.hparams.model.regularization_loss_heads is None


def test_a_config_without_the_line_is_composed_as_ever() -> None:
    assert register_earlier_run("quickstart", ["run.seed=3"], MODES) == "quickstart"
    assert register_earlier_run("quickstart", ["run.from_run=null"], MODES) == "quickstart"
    assert register_earlier_run("quickstart", ["run.[="], MODES) == "quickstart"  # reported later


def files_of(folder: Path, *checkpoints: Any, best: Any = None, summary: bool = True) -> str:
    """A run's folder with these (empty) checkpoints."""
    (folder / "checkpoints").mkdir(parents=True)
    for name in checkpoints:
        (folder / "checkpoints" / name).touch()
    config = composed("quickstart", *TINY, "run.pretrained_checkpoint_path=x")
    (folder / "composed.yaml").write_text(composed_text(config, seed=5))
    if summary:
        content = {"best": {"path": best} if best else None}
        (folder / "summary.json").write_text(json.dumps(content))
    return f"run.from_run='{folder}'"


@pytest.mark.parametrize(
    ("checkpoints", "best", "summary", "expected"),
    [
        (["last.ckpt", "epoch=1-step=5.ckpt"], "/moved/epoch=1-step=5.ckpt", True, 1),
        (["last.ckpt", "a.ckpt", "b.ckpt"], "/moved/b.ckpt", True, 2),
        (["last.ckpt", "epoch=1-step=5.ckpt"], None, False, 1),  # it was killed
        (["last.ckpt", "a.ckpt", "b.ckpt"], None, False, 0),
        (["last.ckpt"], None, True, 0),
        (["last.ckpt"], "/removed/since.ckpt", True, 0),
    ],
)
def test_the_best_checkpoint_is_measured_and_the_last_one_resumed(
    tmp_path: Path, checkpoints: list[str], best: str | None, summary: bool, expected: int
) -> None:
    folder = tmp_path / "2026-01-02_03-04-05"
    given = files_of(folder, *checkpoints, best=best, summary=summary)
    for mode in ("TEST", "VALIDATE"):
        run_of = begun(given, f"run.mode={mode}").run
        assert run_of.pretrained_checkpoint_path == str(
            folder / "checkpoints" / checkpoints[expected]
        )
        assert run_of.resume_from_checkpoint is None
    run_of = begun(given).run
    assert run_of.resume_from_checkpoint == str(folder / "checkpoints" / "last.ckpt")
    assert run_of.pretrained_checkpoint_path is None
    assert run_of.seed == 5
    assert run_of.from_run == str(folder)


def test_what_cannot_be_gone_on_from_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run\.from_run: .*is no run's folder"):
        register_earlier_run("sesemi_config", [f"run.from_run={tmp_path}"], MODES)
    given = files_of(tmp_path / "x")
    with pytest.raises(ConfigError, match=r"has no checkpoints/last\.ckpt; give run\.resume"):
        register_earlier_run("sesemi_config", [given], MODES)
    with pytest.raises(ConfigError, match=r"-cn: found 'base'; run\.from_run has a config"):
        register_earlier_run("base", [given], MODES)
    for content in ("- a\n", "run: 3\n", "a: [\n", "run: {a: '${'}\n"):
        (tmp_path / "x" / "composed.yaml").write_text(content)
        with pytest.raises(ConfigError, match=r"composed\.yaml is no config of a run"):
            register_earlier_run("sesemi_config", [given], MODES)
    config = composed("quickstart", "run.from_run=x")
    with pytest.raises(ConfigError, match="command line alone"):
        refuse_in_file(config, "quickstart")
    refuse_in_file(config, FROM_RUN)


def test_folders_of_older_runs_have_their_resolved_config(trained: Any, tmp_path: Path) -> None:
    folder = tmp_path / "older"
    shutil.copytree(trained[0], folder)
    (folder / "composed.yaml").unlink()
    config = begun(f"run.from_run={folder}", "run.mode=TEST")
    assert config.run.mode == "TEST"
    assert config.learner.hparams.model.backbone.widths == [4, 8]


def test_a_learner_of_ones_own_is_composed_again() -> None:
    config = composed("quickstart")
    config.learner = OmegaConf.create({"_target_": "my.Learner", "hparams": {"a": 1}})
    content = OmegaConf.create(composed_text(config, seed=1))
    assert {"learner": "classifier"} not in content.defaults
    assert content.learner == {"_target_": "my.Learner", "hparams": {"a": 1}}
