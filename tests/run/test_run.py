"""Runs from config to summary: what they write, how they resume, and what they refuse."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from composing import composed
from fixture_types import OpenCli
from omegaconf import OmegaConf
from PIL import Image

from sesemi_like.config.check import check
from sesemi_like.errors import ConfigError, ConfigProblem
from sesemi_like.learners import Classifier
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES
from sesemi_like.run.prepare import prepare

# Five steps an epoch: floor(1437 / 256) of the unlabeled loader; small enough for seconds.
TINY = [
    "run.gpus=0",
    "run.num_iterations=10",
    "data.train.unlabeled.repeat=1",
    "data.train.supervised.repeat=1",
    "data.train.unlabeled.batch_size_per_gpu=256",
    "learner.hparams.model.backbone.widths=[4,8]",
    "++trainer.log_every_n_steps=1",
]


def fit(folder: Path, *overrides: str, name: str = "quickstart") -> Any:
    """Runs a tiny quickstart; returns its folder and summary."""
    config = composed(name, *TINY, f"run.dir={folder}", *overrides)
    run(config, check(config, MODES))
    (path,) = folder.glob("*/*/summary.json")
    return path.parent, json.loads(path.read_text())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return fit(tmp_path_factory.mktemp("finished"))


def test_a_run_folder_holds_everything(finished: Any) -> None:
    folder, summary = finished
    assert summary["status"] == "finished"
    assert summary["steps"] == 10
    assert (folder / "checkpoints" / "last.ckpt").is_file()
    assert list((folder / "tensorboard").glob("events.*"))
    resolved = OmegaConf.load(folder / "config.yaml")
    assert resolved.learner.hparams.lr_scheduler.scheduler.max_iters == 10
    assert resolved.learner.hparams.lr_scheduler.scheduler.iters_per_epoch == 5


def test_the_label_list_names_forty_labels_of_training_alone(finished: Any) -> None:
    with (finished[0] / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["loader"] for row in rows} == set(finished[1]["labels"]) == {"supervised"}
    assert len(rows) == len({row["id"] for row in rows}) == 40
    counts = {label: sum(row["class"] == label for row in rows) for label in "0123456789"}
    assert set(counts.values()) == {4}


def test_a_loader_that_no_head_reads_does_not_set_the_epoch() -> None:
    missing = "data.train.unlabeled.dataset.subset=missing"
    length = ("run.num_iterations=null", "run.num_epochs=3")
    config = composed("quickstart", *TINY, "method=supervised", *length, missing)
    prepared = prepare(config, check(config, MODES))
    # Forty labels, 32 a step.
    assert prepared.attributes.iterations_per_epoch == 2
    assert prepared.attributes.max_iterations == 6


@pytest.mark.parametrize("mode", ["FIT", "TEST"])
def test_an_evaluator_names_a_train_loader_that_exists(mode: str) -> None:
    config = composed("quickstart", *TINY, "evaluation=knn", f"run.mode={mode}",
                      "run.evaluators.knn.data=supervized")  # fmt: skip
    with pytest.raises(ConfigError, match=r"run\.evaluators\.knn: found 'supervized'"):
        prepare(config, check(config, MODES))


def test_metrics_are_a_table(finished: Any) -> None:
    with (finished[0] / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    losses = [row for row in rows if row["train/loss"]]
    assert len(losses) == 10
    for row in losses:
        parts = float(row["train/supervised/weighted_loss"]) + float(
            row["train/fixmatch/weighted_loss"]
        )
        assert float(row["train/loss"]) == pytest.approx(parts, rel=1e-5)
    assert [row["val/top1"] for row in rows if row["val/top1"]]


def test_a_checkpoint_is_safe_to_load_and_rebuilds_the_learner(finished: Any) -> None:
    path = finished[0] / "checkpoints" / "last.ckpt"
    assert torch.load(path, weights_only=True)["global_step"] == 10
    rebuilt = Classifier.load_from_checkpoint(path, weights_only=True)
    assert rebuilt.networks["classifier"](torch.zeros(2, 1, 8, 8))["logits"].shape == (2, 10)


def test_the_same_seed_gives_the_same_weights(finished: Any, tmp_path: Path) -> None:
    folder, summary = fit(tmp_path)
    first, second = (weights(f) for f in (finished[0], folder))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    assert summary["metrics"] == finished[1]["metrics"]


def weights(folder: Path) -> Any:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


class StopAt(pl.Callback):
    """Asks to stop after some steps, as callbacks do."""

    def __init__(self, steps: Any) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        trainer.should_stop = trainer.global_step >= self.steps


@pytest.mark.parametrize("steps", [5, 7])  # at the end of an epoch, and within one
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(
    finished: Any, tmp_path: Path, steps: int
) -> None:
    keeping = (
        "{_target_: pytorch_lightning.callbacks.ModelCheckpoint, save_top_k: 0, save_last: true}"
    )
    stopping = f"{{_target_: {__name__}.StopAt, steps: {steps}}}"
    stopped, summary = fit(tmp_path / "stopped", f"trainer.callbacks=[{keeping}, {stopping}]")
    assert summary["status"] == "stopped: by a callback"
    assert summary["steps"] == steps
    checkpoint = stopped / "checkpoints" / "last.ckpt"
    folder, summary = fit(tmp_path / "resumed", f"run.resume_from_checkpoint={checkpoint}")
    assert summary["steps"] == 10
    expected = weights(finished[0])
    for name, value in weights(folder).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0, msg=name)


def test_every_micro_batch_of_a_step_has_draws_of_its_own_and_keeps_them_when_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    class Watched(Classifier):
        def training_step(self, batch: Any, batch_idx: Any) -> Any:
            drawn.append(tuple(batch["unlabeled.jigsaw.target"].tolist()))
            return super().training_step(batch, batch_idx)

    monkeypatch.setattr("sesemi_like.Classifier", Watched)
    settings = "method=jigsaw", "++trainer.accumulate_grad_batches=2", "run.num_iterations=4"
    saving = "_target_: pytorch_lightning.callbacks.ModelCheckpoint"
    keep = f"trainer.callbacks=[{{{saving}, every_n_train_steps: 2, save_top_k: -1}}]"
    fit(tmp_path / "whole", *settings, keep)
    whole, drawn[:] = list(drawn), []
    assert len(set(whole)) == len(whole) >= 7
    (checkpoint,) = (tmp_path / "whole").rglob("*step=2.ckpt")
    fit(tmp_path / "resumed", *settings, f"run.resume_from_checkpoint='{checkpoint}'")
    assert drawn == whole[4:]


def test_random_transforms_of_workers_go_on_when_resumed_within_an_epoch(tmp_path: Path) -> None:
    for number in range(16):
        path = tmp_path / "images" / ("val" if number > 11 else "train") / "ab"[number % 2]
        path.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path / f"{number}.png")
    saving = "_target_: pytorch_lightning.callbacks.ModelCheckpoint"
    transform = "dataset.image_transform.crop_dim=8"
    settings = [
        "run.gpus=0", "run.seed=1", "run.num_epochs=2", "run.batch_size_per_gpu=4",
        f"run.data_root={tmp_path / 'images'}", "backbone=small_cnn",
        "learner.hparams.model.backbone.widths=[4]", "learner.hparams.model.backbone.in_chans=3",
        "learner.hparams.lr_scheduler=null", "learner.hparams.num_classes=2", "data.val=null",
        *(f"+data.train.{name}.{transform}" for name in ("supervised", "rotation_prediction")),
        f"trainer.callbacks=[{{{saving}, every_n_train_steps: 2, save_top_k: -1}}]",
    ]  # fmt: skip

    def weights_at(step: Any, folder: Path, *overrides: str) -> Any:
        config = composed("base", *settings, f"run.dir={folder}", *overrides)
        run(config, check(config, MODES))
        return torch.load(next(folder.rglob(f"*step={step}.ckpt")), weights_only=True)["state_dict"]

    expected = weights_at(8, tmp_path / "whole")  # epochs of four batches of 16 images
    (middle,) = (tmp_path / "whole").rglob("*step=6.ckpt")
    overrides = f"run.resume_from_checkpoint='{middle}'", "data.train.supervised.num_workers=0"
    for name, value in weights_at(8, tmp_path / "resumed", *overrides).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0, msg=name)


def test_validation_of_a_checkpoint_gives_its_figure_again(finished: Any, tmp_path: Path) -> None:
    checkpoint = finished[0] / "checkpoints" / "last.ckpt"
    for key in ("resume_from_checkpoint", "pretrained_checkpoint_path"):
        folder = tmp_path / key
        _, summary = fit(folder, "run.mode=VALIDATE", f"run.{key}={checkpoint}")
        assert summary["metrics"]["val/top1"] == finished[1]["metrics"]["val/top1"]
    _, summary = fit(tmp_path / "test", "run.mode=TEST", f"run.resume_from_checkpoint={checkpoint}")
    assert summary["metrics"]["test/top1"] == finished[1]["metrics"]["test/top1"]


def test_pretrained_weights_say_what_matched(
    finished: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = finished[0] / "checkpoints" / "last.ckpt"
    config = composed(
        "quickstart", *TINY, f"run.dir={tmp_path}", "method=supervised",
        f"run.pretrained_checkpoint_path={checkpoint}", "learner.hparams.num_classes=11",
    )  # fmt: skip
    with caplog.at_level("INFO", logger="sesemi_like"):
        learner = prepare(config).learner
    assert "of another shape: networks.modules_by_name.classifier.head.bias" in caplog.text
    own, given = learner.state_dict(), weights(finished[0])
    name = "networks.modules_by_name.classifier.backbone.layers.0.weight"
    assert torch.equal(own[name], given[name])


@pytest.mark.parametrize("content", [b"not a checkpoint", b""])
def test_a_file_that_is_no_checkpoint_is_reported(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.ckpt"
    path.write_bytes(content)
    config = composed("quickstart", *TINY, f"run.pretrained_checkpoint_path={path}")
    with pytest.raises(ConfigError, match=r"run\.pretrained_checkpoint_path.*cannot be read"):
        prepare(config)


@pytest.mark.parametrize("method", ["supervised", "rotation", "jigsaw", "entropy_minimization",
                                    "pi_model", "mean_teacher"])  # fmt: skip
def test_every_method_trains(method: str, tmp_path: Path) -> None:
    _, summary = fit(tmp_path, f"method={method}", "run.num_iterations=3")
    assert summary["steps"] == 3


def test_iterations_per_epoch_and_max_iterations_against_hand_counts() -> None:
    cases = {
        # unlabeled: floor(1437 / 256) = 5; supervised: ceil(40 / 32) = 2
        (): 5,
        ("data.train.unlabeled.drop_last=false",): 6,
        ("data.train.unlabeled.repeat=3",): 16,  # floor(4311 / 256)
        ("data.train.supervised.repeat=10",): 13,  # ceil(400 / 32)
        ("data.train.supervised.repeat=10", "data.train.supervised.drop_last=true"): 12,
        ("++trainer.accumulate_grad_batches=2",): 3,
        ("++trainer.limit_train_batches=4",): 4,
        ("++trainer.limit_train_batches=0.5",): 2,
    }
    for overrides, expected in cases.items():
        config = composed("quickstart", *TINY, "run.num_iterations=null", "run.num_epochs=3",
                          *overrides)  # fmt: skip
        attributes = prepare(config).attributes
        assert attributes.iterations_per_epoch == expected, overrides
        assert attributes.max_iterations == 3 * expected, overrides


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
def test_what_is_wrong_is_told_on_every_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    # A folder that is not empty, as another process may leave it, or that is not there at all.
    def no_trainer(
        config: Any, given: Any, devices: Any, evaluation: Any, most: Any, folder: Path
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


def test_mistakes_of_data_learner_and_run_are_told_at_once() -> None:
    config = composed(
        "quickstart", *TINY,
        "run.num_epochs=0",
        "data.val.dataset.subset=trian",
        "learner.hparams.optimizer._target_=torch.optim.SDG",
    )  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        prepare(config, check(config, MODES))
    assert [problem.key for problem in caught.value.problems] == [
        "run.num_epochs",
        "run.num_epochs",
        "data.val.dataset.subset",
        "learner.hparams.optimizer._target_",
    ]


def test_a_schedule_that_cannot_answer_is_told_before_training() -> None:
    config = composed(
        "quickstart", *TINY, "method=mean_teacher",
        "learner.hparams.model.regularization_loss_heads.mean_teacher.scheduler.max_iterations=null",
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"mean_teacher\.scheduler"):
        prepare(config)


def test_a_drawn_seed_is_noted_and_a_resumed_run_takes_it(tmp_path: Path) -> None:
    stopped, summary = fit(tmp_path / "stopped", "run.seed=null", "run.num_iterations=5")
    checkpoint = stopped / "checkpoints" / "last.ckpt"
    _, resumed = fit(
        tmp_path / "resumed", "run.seed=null", "run.num_iterations=6",
        f"run.resume_from_checkpoint={checkpoint}",
    )  # fmt: skip
    _, sibling = fit(tmp_path / "sibling", "run.seed=null", "run.num_iterations=1")
    assert resumed["seed"] == summary["seed"] != sibling["seed"]


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


CALLABLE = "learner.hparams.model.supervised_loss.callable._target_"
MONITORED = [
    "++trainer.callbacks.0.monitor=val/top1",
    "++trainer.callbacks.0.save_top_k=1",
    "++trainer.callbacks.0.mode=max",
]


def test_the_last_checkpoint_is_the_last_even_where_an_earlier_one_is_better(
    tmp_path: Path,
) -> None:
    worse = "++trainer.callbacks.0.mode=min"  # then the first epoch is likely the best
    folder, summary = fit(tmp_path, *MONITORED[:2], worse, "run.num_iterations=12")
    steps = {
        path.name: torch.load(path, weights_only=True)["global_step"]
        for path in (folder / "checkpoints").iterdir()
    }
    assert steps.pop("last.ckpt") == 12
    assert next(iter(steps.values())) < 12
    assert summary["best"]["path"].endswith(next(iter(steps)))


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("run.num_iterations=10", "has made 10 steps of 10"),
        ("run.num_iterations=7", "has made 10 steps of 7"),
        ("learner.hparams.model.backbone.widths=[4,6]", "model is another one"),
        ("optimizer=adam", "optimizer is another one"),
    ],
)
def test_what_a_checkpoint_cannot_be_resumed_with_is_reported(
    finished: Any, tmp_path: Path, override: str, told: str
) -> None:
    checkpoint = finished[0] / "checkpoints" / "last.ckpt"
    config = composed("quickstart", *TINY, "run.num_iterations=20", override,
                      f"run.resume_from_checkpoint={checkpoint}")  # fmt: skip
    with pytest.raises(ConfigError, match=rf"run\.resume_from_checkpoint: .*{told}"):
        prepare(config)


def test_weights_alone_cannot_be_resumed(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"a": torch.zeros(1)}, path)
    config = composed("quickstart", *TINY, f"run.resume_from_checkpoint={path}")
    with pytest.raises(ConfigError, match="is no checkpoint of a run"):
        prepare(config)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("learner.hparams.model.supervised_loss.class_weights=[1,2]", "model.supervised_loss"),
        (f"{CALLABLE}=torch.nn.MSELoss", "model.supervised_loss"),
        ("learner.hparams.model.backbone.in_chans=3", "learner.hparams"),
    ],
)
def test_what_fails_at_the_first_step_is_told_before(override: str, key: str) -> None:
    config = composed("quickstart", *TINY, override)
    with pytest.raises(ConfigError, match=rf"{key}: .*samples"):
        prepare(config)


def test_a_dry_run_changes_nothing() -> None:
    prepared = prepare(composed("quickstart", *TINY))
    learner, batch = prepared.learner, prepared.data.first_step()
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    torch.manual_seed(0)
    learner.dry_run(batch)
    drawn = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(3))
    assert learner.training
    assert all(p.grad is None for p in learner.parameters())
    assert all(torch.equal(value, before[name]) for name, value in learner.state_dict().items())


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = composed("quickstart", *TINY, f"run.dir={tmp_path}/file/runs")
    with pytest.raises(ConfigError, match=r"run\.dir: .*no folder can be made"):
        run(config)


def test_a_resumed_run_keeps_the_best_checkpoint_of_before(tmp_path: Path) -> None:
    first, summary = fit(tmp_path / "a", *MONITORED)
    last = first / "checkpoints" / "last.ckpt"
    resume = ["run.num_iterations=15", f"run.resume_from_checkpoint={last}"]
    content = torch.load(last, weights_only=True)
    (state,) = (s for key, s in content["callbacks"].items() if "ModelCheckpoint" in key)
    unbeatable = torch.tensor(2.0)
    state["best_model_score"] = state["kth_value"] = unbeatable
    state["best_k_models"] = {state["best_model_path"]: unbeatable}
    torch.save(content, last)
    _, resumed = fit(tmp_path / "b", *MONITORED, *resume)
    assert resumed["best"] == {**summary["best"], "score": 2.0}
    assert resumed["steps"] == 15
    (tmp_path / "a").rename(tmp_path / "moved")
    resume[1] = f"run.resume_from_checkpoint={str(last).replace('/a/', '/moved/')}"
    _, alone = fit(tmp_path / "c", *MONITORED, *resume)
    assert alone["best"]["path"].startswith(str(tmp_path / "c"))


def test_the_figure_of_a_run_is_never_chosen_by_the_test(tmp_path: Path) -> None:
    _, summary = fit(tmp_path)
    assert summary["headline"] == summary["metrics"]["val/top1"]


def small_images(root: Path, folder: Path) -> list[str]:
    """Overrides of `imagewang` that train on a folder of images for an epoch of seconds."""
    hparams = "learner.hparams"
    return [
        f"{hparams}.num_classes=10", "backbone=small_cnn", "data=image_folder", "run.gpus=0",
        f"{hparams}.model.backbone.widths=[4]", f"{hparams}.model.backbone.in_chans=3",
        f"{hparams}.lr_scheduler.scheduler.warmup_epochs=0", "run.num_epochs=1",
        "data.image_size=16", f"run.data_root={root}", f"run.dir={folder}",
    ]  # fmt: skip


def test_weights_begin_alike_whether_images_were_decoded_before(
    tmp_path: Path, cifar10_images: Path
) -> None:
    small = small_images(cifar10_images, tmp_path)
    random = "data.train.supervised.dataset.image_transform.transforms.1._target_"
    small += [f"{random}=torchvision.transforms.v2.RandomCrop", f"run.cache_dir={tmp_path / 'c'}"]
    built, found = (prepare(composed("imagewang", *small, "run.seed=3")) for _ in range(2))
    none = prepare(
        composed("imagewang", *small, "run.seed=3", "++data.train.supervised.dataset.cache=none")
    )
    weights = [
        torch.cat([p.flatten() for p in c.learner.parameters()]) for c in (built, found, none)
    ]
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2])


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


def test_a_run_without_a_length_is_told_so_and_no_schedule_is_accused() -> None:
    config = composed("quickstart", *TINY, "run.num_iterations=null")
    with pytest.raises(ConfigError) as caught:
        run(config, check(config, MODES))
    assert [problem.key for problem in caught.value.problems] == ["run.num_epochs"]
