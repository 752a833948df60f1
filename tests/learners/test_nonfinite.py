"""A loss that is nan or infinite: the run stops and says where, or goes on without that step."""

import csv
import json
import logging
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from composing import composed

from sesemi_like.cli import command as cli
from sesemi_like.config.check import check
from sesemi_like.data import DataModule
from sesemi_like.errors import NonFiniteLossError
from sesemi_like.learners import nonfinite
from sesemi_like.learners.nonfinite import NonFiniteLosses
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES

TINY = [
    "run.gpus=0", "run.precision=32", "run.num_iterations=8", "data.test=null",
    "learner.hparams.model.backbone.widths=[4,8]", "method=mean_teacher",
    "data.train.unlabeled.repeat=1", "data.train.supervised.repeat=1",
    "++data.train.unlabeled.batch_size_per_gpu=256", "++trainer.log_every_n_steps=1",
]  # fmt: skip


@pytest.fixture
def break_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Breaks the labeled images of some batches, counted from 1; returns where they are."""

    def install(*batches: Any, value: Any = math.nan) -> Any:
        make, calls, broken = DataModule.on_after_batch_transfer, [0], []

        def breaking(self: Any, batch: Any, index: Any) -> Any:
            made = make(self, batch, index)
            calls[0] += "supervised.image" in made
            if calls[0] in batches and "supervised.image" in made:
                made["supervised.image"] = made["supervised.image"] * value
                broken.append(made["supervised.index"].tolist())
            return made

        monkeypatch.setattr(DataModule, "on_after_batch_transfer", breaking)
        return broken

    return install


def fit(folder: Path, *overrides: str) -> Any:
    config = composed("quickstart", *TINY, f"run.dir={folder}", *overrides)
    run(config, check(config, MODES))
    (summary,) = folder.rglob("summary.json")
    (last,) = folder.rglob("last.ckpt")
    return json.loads(summary.read_text()), torch.load(last, weights_only=True)


def test_the_run_stops_and_names_step_head_and_samples(
    break_at: Callable[..., Any], tmp_path: Path
) -> None:
    positions = break_at(7)
    with pytest.raises(NonFiniteLossError) as caught:
        fit(tmp_path)
    text = str(caught.value)
    assert "step 7: the loss of supervised is nan" in text
    (table,) = tmp_path.rglob("labels.csv")
    with table.open(newline="") as file:
        ids = {int(row["index"]): row["id"] for row in csv.DictReader(file)}
    first = ", ".join(ids[position] for position in positions[0][:5])
    assert f"samples of supervised: {first}, ... ({len(set(positions[0]))} in all)" in text
    assert "run.on_nonfinite=skip" in text
    assert not list(tmp_path.rglob("summary.json"))
    (last,) = tmp_path.rglob("last.ckpt")
    state = torch.load(last, weights_only=True)
    assert state["global_step"] == 5, "that of the epoch before"
    assert all(v.isfinite().all() for v in state["state_dict"].values())


def test_where_looking_waits_no_checkpoint_is_kept_of_what_followed(
    break_at: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: the loss is looked at later, and the step that it was is named all the same."""
    monkeypatch.setattr(nonfinite, "world_size", lambda: 2)
    break_at(2)
    every = "{_target_: pytorch_lightning.callbacks.ModelCheckpoint, every_n_train_steps: 4}"
    with pytest.raises(NonFiniteLossError, match="step 2: the loss of supervised is nan"):
        fit(tmp_path, "++trainer.log_every_n_steps=50", f"trainer.callbacks=[{every}]")
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_loss_that_is_infinite_stops_as_well(tmp_path: Path) -> None:
    factor = "learner.hparams.model.supervised_loss.callable._target_"
    with pytest.raises(NonFiniteLossError, match="step 1: the loss of supervised is inf"):
        fit(tmp_path, f"{factor}={__name__}.Infinite")


class Infinite(torch.nn.CrossEntropyLoss):
    """Grows without bound."""

    def forward(self, logits: Any, target: Any) -> Any:
        return super().forward(logits, target) * torch.tensor(math.inf if self.training else 1)


class Ends(pl.Callback):
    """Keeps what a run has learned after each step."""

    def __init__(self) -> None:
        self.states: list[Any] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        optimizer = [v.clone() for s in trainer.optimizers[0].state.values() for v in s.values()]
        model = {name: value.clone() for name, value in pl_module.state_dict().items()}
        self.states.append((model, optimizer))


@pytest.mark.parametrize(
    ("optimizer", "extra"),
    [("sgd", []), ("adamw", ["++trainer.gradient_clip_val=1.0"])],
)
def test_a_skipped_step_changes_nothing_and_is_counted(
    optimizer: str,
    extra: Any,
    break_at: Callable[..., Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends = Ends()
    monkeypatch.setattr("sesemi_like.trainer.build.CarryBestOver", lambda: ends)
    break_at(3, 7)
    with caplog.at_level(logging.WARNING):
        summary, last = fit(tmp_path, "run.on_nonfinite=skip", f"optimizer={optimizer}", *extra)
    assert summary["skipped_steps"] == 2
    assert summary["steps"] == 8
    assert "skipped (1 so far): step 3: the loss of supervised is nan" in caplog.text
    assert "2 steps were skipped" in caplog.text
    steps = range(2, 9)
    unchanged = {step for step in steps if is_equal(ends.states[step - 2], ends.states[step - 1])}
    assert unchanged == {3, 7}
    assert all(v.isfinite().all() for v in last["state_dict"].values())


def is_equal(before: Any, after: Any) -> Any:
    """Whether weights, buffers, averages and the optimizer's state are the same."""
    model = all(torch.equal(before[0][name], value) for name, value in after[0].items())
    return model and all(torch.equal(a, b) for a, b in zip(before[1], after[1], strict=True))


def test_of_accumulated_batches_one_that_is_broken_spoils_its_step_alone(
    break_at: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = Ends()
    monkeypatch.setattr("sesemi_like.trainer.build.CarryBestOver", lambda: ends)
    break_at(3)  # the first batch of the second step
    summary, _ = fit(tmp_path, "run.on_nonfinite=skip", "++trainer.accumulate_grad_batches=2",
                     "run.num_iterations=4")  # fmt: skip
    assert summary["skipped_steps"] == 1
    weights = [model["networks.modules_by_name.classifier.head.weight"] for model, _ in ends.states]
    # Five batches make an epoch, of which the last is a step of its own.
    same = [torch.equal(weights[i], weights[i + 1]) for i in range(6)]
    assert same == [False, True, True, False, True, False]


def test_a_run_that_skips_every_step_ends(
    break_at: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = partial(NonFiniteLosses, max_in_a_row=4)
    monkeypatch.setattr("sesemi_like.trainer.build.NonFiniteLosses", callback)
    break_at(*range(2, 9))
    with pytest.raises(NonFiniteLossError, match="4 steps in a row were skipped: step 5"):
        fit(tmp_path, "run.on_nonfinite=skip")


def test_the_command_ends_with_a_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "step 7: the loss of supervised is nan"
    arguments = ["open_cli", "-cn", "quickstart", f"hydra.run.dir={tmp_path}"]
    monkeypatch.setattr("sys.argv", arguments)

    def stop(config: Any) -> None:
        raise NonFiniteLossError(said)

    monkeypatch.setattr(cli, "job", stop)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    assert capsys.readouterr().err.strip() == said
