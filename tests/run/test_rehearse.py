"""`run.rehearse`: on samples, on shapes alone, or not at all; the run itself is the same."""

import logging
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from composing import composed
from tiny_runs import TINY, fit, weights
from torch import Tensor

from sesemi_like.config.check import check
from sesemi_like.errors import ConfigError
from sesemi_like.learners.outline import is_outline
from sesemi_like.models.backbones import SmallConvNet
from sesemi_like.models.heads.loss import EntropyMinimizationLossHead
from sesemi_like.models.heads.loss.parts import Policy, Prediction
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES
from sesemi_like.run.prepare import prepare

METHODS = ["supervised", "fixmatch", "mean_teacher", "pi_model", "rotation", "jigsaw"]
METHODS += ["entropy_minimization"]
HERE = __name__
BACKBONE = "learner.hparams.model.backbone"


@pytest.mark.parametrize("rehearse", ["shapes", "none"])
def test_a_run_ends_with_the_same_weights_however_it_was_rehearsed(
    tmp_path: Path, rehearse: str
) -> None:
    folders = [
        fit(tmp_path / kind, f"run.rehearse={kind}", "run.num_iterations=6")[0]
        for kind in ("full", rehearse)
    ]
    first, second = map(weights, folders)
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


class Counted(SmallConvNet):
    """Notes the device that each of its copies is built on."""

    built: list[str]

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.built.append(next(self.parameters()).device.type)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(Counted, "built", found, raising=False)
    return found


@pytest.mark.parametrize(
    ("rehearse", "expected"),
    [("full", ["cpu"]), ("none", ["cpu"]), ("shapes", ["meta", "cpu"])],
)
def test_networks_are_built_once_and_in_the_run_where_shapes_were_rehearsed(
    tmp_path: Path, built: list[str], rehearse: str, expected: list[str]
) -> None:
    overrides = [f"run.rehearse={rehearse}", f"{BACKBONE}._target_={HERE}.Counted"]
    config = composed("quickstart", *TINY, *overrides, f"run.dir={tmp_path}")
    prepared = prepare(config)
    assert built == expected[:1]
    assert is_outline(prepared.learner) is (rehearse == "shapes")
    prepared.learner.configure_model()
    assert built == expected
    assert not is_outline(prepared.learner)
    prepared.learner.configure_model()
    assert built == expected


@pytest.mark.parametrize("method", METHODS)
def test_methods_are_rehearsed_by_shapes_as_on_samples(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = []
    for rehearse in ("full", "shapes"):
        overrides = [f"method={method}", f"run.rehearse={rehearse}"]
        learner = prepare(composed("quickstart", *TINY, *overrides)).learner
        frozen = {n for n, p in learner.named_parameters() if not p.requires_grad}
        plan = learner.plan
        found.append((frozen, learner.logged_names, plan.fields, plan.num_calls))
    assert found[0] == found[1]
    assert "cannot be tried without values" not in caplog.text


def test_what_no_loss_reaches_stays_frozen_in_the_network_that_is_built() -> None:
    overrides = ["method=rotation", "learner.hparams.model.supervised_loss=null"]
    learner = prepare(composed("quickstart", *TINY, *overrides, "run.rehearse=shapes")).learner
    learner.configure_model()
    frozen = {
        n for n, p in learner.named_parameters() if not p.requires_grad and "teacher" not in n
    }
    head = "networks.modules_by_name.classifier.head"
    assert frozen == {f"{head}.weight", f"{head}.bias"}


@pytest.mark.parametrize("override", ["in_chans=3", "widths=[4,8,8,8,8]"])
def test_shapes_that_do_not_fit_are_reported_before_the_run(tmp_path: Path, override: str) -> None:
    overrides = [f"{BACKBONE}.{override}", "run.rehearse=shapes", f"run.dir={tmp_path}"]
    with pytest.raises(ConfigError, match="do not go through"):
        prepare(composed("quickstart", *TINY, *overrides))
    assert not list(tmp_path.iterdir())


class ReadsValues(EntropyMinimizationLossHead):
    """Computes on the CPU with a number of its rows."""

    def forward(self, outputs: Any, step: Any) -> Any:
        (output,) = outputs.values()
        self.last = output["logits"].sum().item()
        return super().forward(outputs, step)


class Fails(EntropyMinimizationLossHead):
    """Cannot be applied."""

    def forward(self, outputs: Any, step: Any) -> Any:
        raise ValueError("the rows do not add up")


def with_head(head: str) -> list[str]:
    heads = "learner.hparams.model.regularization_loss_heads"
    target = f"{{_target_: {HERE}.{head}, input_data: unlabeled}}"
    return ["method=supervised", f"+{heads}={{mine: {{head: {target}}}}}"]


def test_a_head_that_reads_values_is_named_and_trains_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        fit(tmp_path, *with_head("ReadsValues"), "run.rehearse=shapes", "run.num_iterations=2")
    assert "the loss head 'mine' cannot be tried without values" in caplog.text


@pytest.mark.parametrize("rehearse", ["full", "shapes"])
def test_a_head_that_fails_is_reported_before_the_run(tmp_path: Path, rehearse: str) -> None:
    overrides = [*with_head("Fails"), f"run.rehearse={rehearse}", f"run.dir={tmp_path}"]
    with pytest.raises(ConfigError, match=r"heads\.mine: .* fails on the first samples: the"):
        prepare(composed("quickstart", *TINY, *overrides))


class Misspelled(Policy):
    """Has a mistake in its code."""

    def forward(self, prediction: Prediction) -> Tensor:
        return prediction.confidance  # type: ignore[attr-defined]


def test_a_part_that_fails_is_reported_with_its_head_and_place(tmp_path: Path) -> None:
    head = "{_target_: sesemi_like.models.heads.loss.PseudoLabelLossHead, policy: "
    mine = f"{{mine: {{head: {head}{{_target_: {HERE}.Misspelled}}}}}}}}"
    overrides = ["method=supervised", f"+learner.hparams.model.regularization_loss_heads={mine}"]
    place = rf"\(AttributeError in {Path(__file__).name}, line \d+\)".replace("in ", "in .*")
    with pytest.raises(ConfigError, match=rf"heads\.mine: .*'confidance' {place}"):
        prepare(composed("quickstart", *TINY, *overrides, f"run.dir={tmp_path}"))


@pytest.mark.parametrize(
    ("method", "override", "message"),
    [
        ("ict", "ema=null", r"heads\.ict: found 'teacher'; no such network; "),
        ("comatch", "networks=null", r"heads\.comatch: found 'CoMatch.*no network 'projector'"),
    ],
)
def test_a_network_that_is_missing_is_named_with_the_head_that_reads_it(
    tmp_path: Path, method: str, override: str, message: str
) -> None:
    overrides = [f"method={method}", f"learner.hparams.model.{override}", f"run.dir={tmp_path}"]
    with pytest.raises(ConfigError, match=message):
        prepare(composed("quickstart", *TINY, *overrides))


def test_without_rehearsal_the_first_batch_names_the_head_that_fails(tmp_path: Path) -> None:
    overrides = [*with_head("Fails"), "run.rehearse=none", f"run.dir={tmp_path}"]
    config = composed("quickstart", *TINY, *overrides)
    with pytest.raises(ConfigError, match=r"heads\.mine: .* fails on the first batch: the rows do"):
        run(config, check(config, MODES))


def test_without_rehearsal_the_first_batch_names_the_networks_it_does_not_fit(
    tmp_path: Path,
) -> None:
    overrides = [f"{BACKBONE}.in_chans=3", "run.rehearse=none", f"run.dir={tmp_path}"]
    config = composed("quickstart", *TINY, *overrides)
    with pytest.raises(ConfigError, match=r"learner\.hparams: .*first batch does not go through"):
        run(config, check(config, MODES))


def test_only_the_first_step_is_explained() -> None:
    overrides = ["run.rehearse=none", "method=supervised"]
    learner = prepare(composed("quickstart", *TINY, *overrides)).learner
    data = {"supervised.image": torch.zeros(2, 1, 8, 8), "supervised.target": torch.zeros(2).long()}
    assert isinstance(learner.training_step(data, 0), Tensor)
    with pytest.raises(KeyError):
        learner.training_step({}, 1)


def test_pretrained_weights_are_checked_against_shapes_and_loaded_in_the_run(
    tmp_path: Path,
) -> None:
    first, _ = fit(tmp_path / "first", "run.num_iterations=2", "data.test=null")
    path = first / "checkpoints" / "last.ckpt"
    ends = []
    for rehearse in ("full", "shapes"):
        overrides = [f"run.pretrained_checkpoint_path='{path}'", f"run.rehearse={rehearse}"]
        folder, _ = fit(tmp_path / rehearse, *overrides, "run.num_iterations=3", "data.test=null")
        ends.append(weights(folder))
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())
    other = [f"run.pretrained_checkpoint_path='{path}'", f"{BACKBONE}.widths=[8,16]"]
    with pytest.raises(ConfigError, match="which is another one"):
        prepare(composed("quickstart", *TINY, *other, "run.rehearse=shapes"))


class Stop(pl.Callback):
    """Ends a run at its fifth step, which ends an epoch."""

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        trainer.should_stop = trainer.should_stop or trainer.global_step == 5


def test_a_run_rehearsed_by_shapes_goes_on_where_it_stopped(tmp_path: Path) -> None:
    options = ["data.test=null", "run.rehearse=shapes"]
    stop = f"trainer.callbacks=[{{_target_: {HERE}.Stop}}]"
    half, _ = fit(tmp_path / "half", *options, stop)
    path = half / "checkpoints" / "last.ckpt"
    rest, _ = fit(tmp_path / "rest", *options, f"run.resume_from_checkpoint='{path}'")
    whole, _ = fit(tmp_path / "whole", "data.test=null")
    first, second = weights(whole), weights(rest)
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("rehearse", ["shapes", "none"])
def test_losses_are_measured_of_networks_that_are_built_in_the_run(
    tmp_path: Path, rehearse: str
) -> None:
    options = ["evaluation=losses", f"run.rehearse={rehearse}", "run.num_iterations=2"]
    _, summary = fit(tmp_path, *options)
    assert "val/loss" in summary["metrics"]


def test_a_choice_that_there_is_not_is_reported() -> None:
    (problem,) = check(composed("quickstart", "run.rehearse=shape"), MODES)
    assert problem.key == "run.rehearse"
    assert "shapes" in problem.expected
