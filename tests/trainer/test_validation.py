"""How often a run is validated, by hand; the last step always is, and is kept."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from composing import composed

from sesemi_like.config.check import check
from sesemi_like.config.length import RunLength
from sesemi_like.errors import ConfigError
from sesemi_like.learners.checkpoints.saving import LastCheckpoint
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES
from sesemi_like.trainer.validation import interval_problems, validation_settings

TINY = [
    "run.gpus=0", "run.num_iterations=10", "data.train.unlabeled.repeat=1",
    "data.train.supervised.repeat=1", "++data.train.unlabeled.batch_size_per_gpu=256",
    "learner.hparams.model.backbone.widths=[4,8]", "data.test=null", "method=supervised",
    "data.train.supervised.batch_size_per_gpu=8",
]  # fmt: skip
CALLBACKS = "pytorch_lightning.callbacks"
EPOCH = RunLength(batches=5, epoch=5, steps=23)


class Validations(pl.Callback):
    """Notes after which steps there was a validation."""

    steps: list[int] = []  # noqa: RUF012

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            self.steps.append(trainer.global_step)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], [5, 10]),
        (["run.validate_every=3"], [3, 6, 9, 10]),
        (["run.validate_every=2 epochs", "run.num_iterations=23"], [10, 20, 23]),
        (["run.validate_every=2 epochs", "run.num_iterations=null", "run.num_epochs=3"], [10, 15]),
        (["run.validate_every=100"], [10]),
        (["++trainer.check_val_every_n_epoch=2", "run.num_iterations=15"], [10, 15]),
    ],
)
def test_after_which_steps(overrides: Any, expected: list[int], tmp_path: Path) -> None:
    Validations.steps.clear()
    kept = f"{{_target_: {CALLBACKS}.ModelCheckpoint, save_top_k: 0, save_last: true}}"
    own = f"trainer.callbacks=[{{_target_: {__name__}.Validations}}, {kept}]"
    config = composed("quickstart", *TINY, f"run.dir={tmp_path}", own, *overrides)
    run(config, check(config, MODES))
    assert Validations.steps == expected
    (last,) = tmp_path.rglob("last.ckpt")
    assert torch.load(last, weights_only=True)["global_step"] == expected[-1]


def test_short_epochs_without_validation_are_not_all_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60 epochs of one step: every third is saved, and the last one, to one file alone."""
    steps, save = [], LastCheckpoint.save

    def saved(self: Any, trainer: Any) -> None:
        steps.append(trainer.global_step)
        save(self, trainer)

    monkeypatch.setattr(LastCheckpoint, "save", saved)
    one_step = ["data.train.supervised.batch_size_per_gpu=40", "data.val=null"]
    config = composed(
        "quickstart", *TINY, *one_step, f"run.dir={tmp_path}", "~trainer.callbacks",
        "run.num_iterations=59", "++trainer.logger=false",
    )  # fmt: skip
    run(config, check(config, MODES))
    assert steps == [*range(3, 58, 3), 59]
    (last,) = tmp_path.rglob("*.ckpt")
    assert torch.load(last, weights_only=True)["global_step"] == 59


@pytest.mark.parametrize(
    ("every", "length", "batches"),
    [
        (None, RunLength(5, 5, 100), None),
        (None, RunLength(5, 5, 101), 10),
        (None, RunLength(5, 5, 1000), 50),
        (None, RunLength(6, 3, 1000), 6 * 17),  # two batches a step
        (None, RunLength(100, 100, 10**6), None),  # no short epochs
        (None, RunLength(None, None, 1000), None),
        (None, RunLength(5, 5, None), None),
        ("1 epoch", RunLength(5, 5, 1000), None),
        ("3 epochs", RunLength(5, 3, 1000), 15),
        (7, RunLength(5, 5, 1000), 7),
        ("7 steps", RunLength(None, None, 1000), 7),
        (7, RunLength(10, 5, 1000), 14),
        ("10%", RunLength(5, 5, 1000), 100),
    ],
)
def test_batches_between_validations_by_hand(
    every: str | int | None, length: Any, batches: int | None
) -> None:
    expected = (
        {} if batches is None else {"check_val_every_n_epoch": None, "val_check_interval": batches}
    )
    assert validation_settings(every, {}, length) == expected


def test_what_watches_a_metric_after_every_epoch_gets_one() -> None:
    assert validation_settings(None, {}, RunLength(5, 5, 1000), watches="val/loss") == {}
    assert validation_settings(None, {"check_val_every_n_epoch": 1}, RunLength(5, 5, 1000)) == {}
    assert validation_settings(None, {"val_check_interval": 0.5}, RunLength(5, 5, 1000)) == {}


@pytest.mark.parametrize(
    ("every", "trainer"),
    [(0, {}), ("often", {}), ("2 epochs", {"val_check_interval": 3}), (-1, {})],
)
def test_what_cannot_be_is_reported(every: int | str, trainer: Any) -> None:
    with pytest.raises(ConfigError, match=r"run\.validate_every"):
        validation_settings(every, trainer, EPOCH)
    with pytest.raises(ConfigError, match=r"run\.validate_every: .*iterations_per_epoch"):
        validation_settings("2 epochs", {}, RunLength(None, None, 9))


def test_an_interval_longer_than_an_epoch_is_reported() -> None:
    (problem,) = interval_problems({"val_check_interval": 7}, EPOCH)
    assert problem.key == "trainer.val_check_interval"
    assert "run.validate_every" in problem.expected
    for fine in (5, 0.5, "00:01:00:00"):
        assert interval_problems({"val_check_interval": fine}, EPOCH) == []
    over_epochs = {"val_check_interval": 7, "check_val_every_n_epoch": None}
    assert interval_problems(over_epochs, EPOCH) == []


def test_the_base_config_is_validated_after_every_epoch() -> None:
    assert composed("base").run.validate_every == "1 epoch"
