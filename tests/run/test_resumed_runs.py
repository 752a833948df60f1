"""Resumed runs end where uninterrupted ones do, and checkpoints are what they are called."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from composing import composed
from PIL import Image
from tiny_runs import fit, weights

from sesemi_like.config.check import check
from sesemi_like.learners import Classifier
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES


class StopAt(pl.Callback):
    """Asks to stop after some steps, as callbacks do."""

    def __init__(self, steps: Any) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        trainer.should_stop = trainer.global_step >= self.steps


MONITORED = [
    "++trainer.callbacks.checkpoint.monitor=val/top1",
    "++trainer.callbacks.checkpoint.save_top_k=1",
    "++trainer.callbacks.checkpoint.mode=max",
]


@pytest.mark.parametrize("steps", [5, 7])  # at the end of an epoch, and within one
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(
    finished_run: Any, tmp_path: Path, steps: int
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
    expected = weights(finished_run[0])
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


def test_validation_of_a_checkpoint_gives_its_figure_again(
    finished_run: Any, tmp_path: Path
) -> None:
    checkpoint = finished_run[0] / "checkpoints" / "last.ckpt"
    for key in ("resume_from_checkpoint", "pretrained_checkpoint_path"):
        folder = tmp_path / key
        _, summary = fit(folder, "run.mode=VALIDATE", f"run.{key}={checkpoint}")
        assert summary["metrics"]["val/top1"] == finished_run[1]["metrics"]["val/top1"]
    _, summary = fit(tmp_path / "test", "run.mode=TEST", f"run.resume_from_checkpoint={checkpoint}")
    assert summary["metrics"]["test/top1"] == finished_run[1]["metrics"]["test/top1"]


def test_a_drawn_seed_is_noted_and_a_resumed_run_takes_it(tmp_path: Path) -> None:
    stopped, summary = fit(tmp_path / "stopped", "run.seed=null", "run.num_iterations=5")
    checkpoint = stopped / "checkpoints" / "last.ckpt"
    _, resumed = fit(
        tmp_path / "resumed", "run.seed=null", "run.num_iterations=6",
        f"run.resume_from_checkpoint={checkpoint}",
    )  # fmt: skip
    _, sibling = fit(tmp_path / "sibling", "run.seed=null", "run.num_iterations=1")
    assert resumed["seed"] == summary["seed"] != sibling["seed"]


def test_the_last_checkpoint_is_the_last_even_where_an_earlier_one_is_better(
    tmp_path: Path,
) -> None:
    worse = "++trainer.callbacks.checkpoint.mode=min"  # then the first epoch is likely the best
    folder, summary = fit(tmp_path, *MONITORED[:2], worse, "run.num_iterations=12")
    steps = {
        path.name: torch.load(path, weights_only=True)["global_step"]
        for path in (folder / "checkpoints").iterdir()
    }
    assert steps.pop("last.ckpt") == 12
    assert next(iter(steps.values())) < 12
    assert summary["best"]["path"].endswith(next(iter(steps)))


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
