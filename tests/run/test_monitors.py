"""Metrics that callbacks and schedules watch and that a run does not measure are reported."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
from composing import composed
from tiny_runs import TINY

from sesemi_like.errors import ConfigError
from sesemi_like.learners import Classifier
from sesemi_like.learners.evaluated import predict_samples
from sesemi_like.run.execute import run
from sesemi_like.run.prepare import prepare

CALLBACKS = "pytorch_lightning.callbacks"


class OwnCallback(pl.Callback):
    """A callback from outside the package, which may log anything."""


STOPPING = f"{{_target_: {CALLBACKS}.EarlyStopping, monitor: val/nope}}"
KEEPING = f"{{_target_: {CALLBACKS}.ModelCheckpoint, monitor: train/supervised/lss}}"


def test_metrics_that_are_watched_and_not_measured_are_reported_before_training(
    tmp_path: Path,
) -> None:
    watching = "++learner.hparams.lr_scheduler.monitor=val/lss"
    callbacks = f"trainer.callbacks=[{STOPPING}, {KEEPING}]"
    config = composed("quickstart", *TINY, f"run.dir={tmp_path}", watching, callbacks)
    with pytest.raises(ConfigError) as caught:
        run(config)
    found = {p.key: p.expected for p in caught.value.problems}
    assert list(found) == ["trainer.callbacks.0.monitor", "trainer.callbacks.1.monitor",
                           "learner.hparams.lr_scheduler.monitor"]  # fmt: skip
    assert "did you mean 'train/supervised/loss'" in found["trainer.callbacks.1.monitor"]
    assert not list(tmp_path.iterdir())


def test_metrics_that_a_callback_of_ones_own_may_log_are_reported_by_the_run(
    tmp_path: Path,
) -> None:
    own = f"trainer.callbacks=[{{_target_: {__name__}.OwnCallback}}, {STOPPING}]"
    config = composed("quickstart", *TINY, f"run.dir={tmp_path}", own)
    with pytest.raises(ConfigError, match=r"trainer: .*`val/nope` which is not available"):
        run(config)


class Logging(Classifier):
    """A classifier that logs a figure of its own."""

    def on_train_epoch_end(self) -> None:
        self.log("own", 1.0)


def test_metrics_that_a_learner_of_ones_own_logs_may_be_watched(tmp_path: Path) -> None:
    watching = f"trainer.callbacks=[{{_target_: {CALLBACKS}.EarlyStopping, monitor: own}}]"
    learner = f"learner._target_={__name__}.Logging"
    config = composed("quickstart", *TINY, f"run.dir={tmp_path}", learner, watching)
    assert run(config)["steps"] == 10


def test_evaluators_name_the_metrics_that_may_be_watched() -> None:
    prepared = prepare(composed("quickstart", *TINY, "evaluation=knn"))
    few = predict_samples(prepared.learner, prepared.data.sample_batches["val"], None)
    names = prepared.evaluation.names(few)
    assert {"val/top1", "val/ema/top1", "val/loss", "val/knn_top1"} <= names
    assert "val/confusion" not in names


def test_a_schedule_that_reads_validation_after_each_step_is_reported(tmp_path: Path) -> None:
    override = "lr_scheduler=ReduceLROnPlateau"
    config = composed("quickstart", *TINY, f"run.dir={tmp_path}", override)
    with pytest.raises(ConfigError, match=r"interval: found 'step'.*val/top1.*needs epoch"):
        run(config)
    assert not list(tmp_path.iterdir())
