"""Resumed runs end where others do, or say why not, and refuse what they would ignore."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import composed

from sesemi_like.config.check import check
from sesemi_like.errors import ConfigError
from sesemi_like.learners.checkpoints.resume_checks import check_resuming
from sesemi_like.learners.checkpoints.saving import LastCheckpoint
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES
from sesemi_like.run.prepare import prepare

KEY = "run.resume_from_checkpoint"
# Five steps an epoch: floor(1437 / 256) of the unlabeled loader.
TINY = [
    "run.gpus=0",
    "data.train.unlabeled.repeat=1",
    "data.train.supervised.repeat=1",
    "data.train.unlabeled.batch_size_per_gpu=256",
    "learner.hparams.model.backbone.widths=[4]",
]
EPOCHS = ["run.num_iterations=null", "run.num_epochs=2"]


def fit(folder: Path, *overrides: str) -> Any:
    config = composed("quickstart", *TINY, f"run.dir={folder}", *overrides)
    run(config, check(config, MODES))
    (path,) = folder.glob("*/*/summary.json")
    return path.parent / "checkpoints" / "last.ckpt", json.loads(path.read_text())


def state(path: Path) -> Any:
    return torch.load(path, weights_only=True)["state_dict"]


def assert_same(path: Path, other: Any) -> None:
    expected = state(other)
    for name, value in state(path).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0, msg=name)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The folder into which every state of last.ckpt is copied as ``<step>.ckpt``."""
    folder = tmp_path / "kept"
    folder.mkdir()
    save = LastCheckpoint.save

    def saved(self: Any, trainer: Any) -> None:
        save(self, trainer)
        shutil.copy(self.path, folder / f"{trainer.global_step}.ckpt")

    monkeypatch.setattr(LastCheckpoint, "save", saved)
    return folder


def test_the_last_checkpoint_has_the_last_step_and_every_one_of_them_resumes(
    kept: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = "+trainer.val_check_interval=2"
    whole, _ = fit(tmp_path / "whole", *EPOCHS, twice)
    assert torch.load(whole, weights_only=True)["global_step"] == 10
    monkeypatch.undo()
    assert {int(path.stem) for path in kept.iterdir()} == {2, 4, 7, 9, 10}
    for step in (4, 7, 9):
        resumed, summary = fit(tmp_path / str(step), *EPOCHS, twice, f"{KEY}={kept}/{step}.ckpt")
        assert summary["steps"] == 10
        assert_same(resumed, whole)


def with_schedule(settings: Any, interval: str = "step") -> list[str]:
    """Overrides that choose a schedule of torch."""
    scheduler = f"{{_target_: torch.optim.lr_scheduler.{settings}}}"
    chosen = f"{{interval: {interval}, scheduler: {scheduler}}}"
    return ["lr_scheduler=constant", f"+learner.hparams.lr_scheduler={chosen}"]


SCHEDULES = {
    "constant": ["lr_scheduler=constant"],
    "each epoch": with_schedule("ExponentialLR, gamma: 0.5", "epoch"),
}


@pytest.mark.parametrize("schedule", SCHEDULES)  # those that depend on no length
@pytest.mark.parametrize("interval", [2, 5, 1.0])  # of five steps an epoch
def test_a_run_that_ended_goes_on(tmp_path: Path, schedule: Any, interval: float) -> None:
    twice = [f"+trainer.val_check_interval={interval}", *SCHEDULES[schedule]]
    whole, _ = fit(tmp_path / "whole", *EPOCHS, *twice, "run.num_epochs=3")
    half, _ = fit(tmp_path / "half", *EPOCHS, *twice)
    longer, _ = fit(tmp_path / "longer", *EPOCHS, *twice, "run.num_epochs=3", f"{KEY}={half}")
    assert_same(longer, whole)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The last checkpoint of ten steps."""
    path, _ = fit(tmp_path_factory.mktemp("stopped"), "run.num_iterations=10")
    return path


def prepared(checkpoint: Any, *overrides: str) -> Any:
    return prepare(composed("quickstart", *TINY, "run.num_iterations=20", *overrides,
                            f"{KEY}={checkpoint}"))  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([], ["lr_scheduler.scheduler.max_iters is 20 instead of 10"]),
        (["run.seed=3"], ["run.seed is 3 instead of 0"]),
        (
            ["data.train.supervised.batch_size_per_gpu=16"],
            ["rows a step of data.train.supervised is 16 instead of 32"],
        ),
        (
            ["data.labels_per_class=3"],
            ["samples of data.train.supervised is 30 instead of 40"],
        ),
        (
            ["method=supervised"],
            ["regularization_loss_heads", "FixMatchLossHead", "data.train.unlabeled"],
        ),
        (
            ["learner.hparams.model.regularization_loss_heads.fixmatch.scale_factor=2"],
            ["fixmatch.scale_factor is 2.0 instead of 1.0"],
        ),
        (["++trainer.accumulate_grad_batches=2"], ["accumulate_grad_batches is 2 instead of 1"]),
        (
            ["data.train.supervised.shuffle=false",
             "data.train.supervised.sampler={_target_: torch.utils.data.RandomSampler,"
             "generator: {_target_: torch.Generator}}"],
            ["data.train.supervised.sampler may draw its order from a generator"],
        ),
    ],
)  # fmt: skip
def test_what_differs_from_the_run_that_is_resumed_is_said(
    stopped: Any, caplog: pytest.LogCaptureFixture, overrides: Any, said: list[str]
) -> None:
    with caplog.at_level("WARNING", logger="sesemi_like"):
        prepared(stopped, *overrides)
    text = caplog.text
    assert "the run will not end where it would have" in text
    for part in said:
        assert part in text


def test_a_run_that_goes_on_unchanged_says_nothing(
    stopped: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    content = torch.load(stopped, weights_only=True)
    content["global_step"] = 5
    torch.save(content, tmp_path / "x.ckpt")
    with caplog.at_level("WARNING", logger="sesemi_like"):
        prepared(tmp_path / "x.ckpt", "run.num_iterations=10")
    assert not caplog.text


def test_keys_that_an_earlier_version_lacked_have_their_defaults(
    stopped: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    content = torch.load(stopped, weights_only=True)
    content["global_step"] = 5
    hparams = content["hyper_parameters"]["hparams"]
    del hparams["no_decay_1d"], hparams["save_frozen"]
    del hparams["model"]["rows"], hparams["model"]["input_field"], hparams["model"]["networks"]
    del hparams["model"]["supervised_loss"]["target"], hparams["model"]["ema"]["mode"]
    torch.save(content, tmp_path / "x.ckpt")
    with caplog.at_level("WARNING", logger="sesemi_like"):
        prepared(tmp_path / "x.ckpt", "run.num_iterations=10")
        assert not caplog.text
        prepared(tmp_path / "x.ckpt", "run.num_iterations=10", "learner.hparams.model.rows=off")
    assert "learner.hparams.model.rows is 'off' instead of 'auto'" in caplog.text


def test_a_checkpoint_of_version_0_1_goes_on_and_says_that_it_drew_otherwise(
    stopped: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = torch.load(stopped, weights_only=True)
    content["rng"] = content["rng"][0]  # it had the first process's generators alone
    for later in ("run", "data"):
        del content[later]
    torch.save(content, tmp_path / "old.ckpt")
    steps = ["run.num_iterations=12", f"{KEY}={tmp_path / 'old.ckpt'}"]
    with caplog.at_level("WARNING", logger="sesemi_like"):
        _, summary = fit(tmp_path / "new", *steps)
    assert summary["steps"] == 12
    assert "of an earlier version" in caplog.text


def test_a_sampler_that_draws_from_the_global_generator_goes_on(stopped: Any) -> None:
    sampler = "data.train.supervised.sampler={_target_: torch.utils.data.RandomSampler}"
    unshuffled = "data.train.supervised.shuffle=false"
    assert prepared(stopped, unshuffled, sampler).learner.facts["samplers"] == []


def test_another_number_of_processes_is_said(
    stopped: Any, caplog: pytest.LogCaptureFixture
) -> None:
    learner = prepared(stopped).learner
    learner.facts = {**learner.facts, "processes": 2}
    with caplog.at_level("WARNING", logger="sesemi_like"):
        check_resuming(learner, str(stopped), key=KEY, max_iterations=20)
    assert "processes is 2 instead of 1" in caplog.text


def test_a_stream_that_begins_again_is_said(stopped: Any, caplog: pytest.LogCaptureFixture) -> None:
    learner = prepared(stopped).learner
    learner.facts = {**learner.facts, "streams": ["data.train.x"], "workers of data.train.y": 2}
    caplog.clear()
    with caplog.at_level("WARNING", logger="sesemi_like"):
        check_resuming(learner, str(stopped), key=KEY, max_iterations=20)
    assert "data.train.x is a stream, which is read from its beginning again" in caplog.text
    assert "workers of data.train.y is 2 instead of null" in caplog.text
    assert "streams is" not in caplog.text


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("learner.hparams.optimizer.lr=0.5", r"optimizer\.lr is 0\.03, here 0\.5"),
        ("++learner.hparams.optimizer.weight_decay=0.5", r"weight_decay is .*here 0\.5"),
        ("optimizer=adamw", "its optimizer is another one"),
    ],
)
def test_settings_that_a_resumed_run_would_ignore_are_refused(
    stopped: Any, override: str, told: str
) -> None:
    with pytest.raises(ConfigError, match=rf"run\.resume_from_checkpoint: .*{told}"):
        prepared(stopped, override)


def test_a_schedule_that_keeps_its_length_is_refused_where_that_has_changed(tmp_path: Path) -> None:
    cosine = with_schedule("CosineAnnealingLR, T_max: '${app:max_iterations}'")
    path, _ = fit(tmp_path, "run.num_iterations=5", *cosine)
    with pytest.raises(ConfigError, match=r"its schedule keeps its settings: .*T_max is 5, here"):
        prepared(path, *cosine)


def test_other_classes_are_refused(stopped: Any, tmp_path: Path) -> None:
    content = torch.load(stopped, weights_only=True)
    content["data"]["classes"] = list("9876543210")
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(ConfigError, match="labels would mean other classes"):
        prepared(tmp_path / "x.ckpt")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"optimizer_states": None}, r"holds weights without what training needs.*last\.ckpt"),
        ({"optimizer_states": 3}, "is no checkpoint of a run"),
        ({"optimizer_states": [{"param_groups": []}]}, "is no checkpoint of a run"),
        ({"global_step": "ten"}, "is no checkpoint of a run"),
        ({"loops": 1}, "is no checkpoint of a run"),
    ],
)
def test_odd_contents_are_reported(stopped: Any, tmp_path: Path, change: Any, told: str) -> None:
    content = {**torch.load(stopped, weights_only=True), **change}
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(ConfigError, match=rf"{told}; run\.pretrained_checkpoint_path"):
        prepared(tmp_path / "x.ckpt")
