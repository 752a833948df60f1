"""Rows that weigh nothing are left out only where that changes nothing, and where it is faster."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sesemi_like.learners import Learner, LossTerm
from sesemi_like.learners.forwards import ForwardPlan
from sesemi_like.learners.left_out import RowChoice
from sesemi_like.models.heads.loss import FixMatchLossHead, SupervisedLossHead
from sesemi_like.models.heads.loss.base import Forward
from sesemi_like.models.heads.loss.parts.thresholds import FixedThreshold
from sesemi_like.models.networks import ClassificationNetwork, Networks


def convolutions(*norms: nn.Module) -> nn.Sequential:
    first, second = nn.Conv2d(3, 8, 3, stride=2), nn.Conv2d(8, 8, 3, stride=2)
    return nn.Sequential(first, *norms, nn.ReLU(), second, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Counting(nn.Module):
    """Notes how many rows it is given."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers
        self.out_features = 8
        self.rows: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.rows.append(len(images))
        return self.layers(images)


NORMS: dict[str, Any] = {
    "group": lambda: nn.GroupNorm(2, 8),
    "batch": lambda: nn.BatchNorm2d(8),
    "dropout": lambda: nn.Dropout(0.5),
}


class FixMatch(Learner):
    def build_networks(self) -> Networks:
        torch.manual_seed(0)
        self.backbone = Counting(convolutions(NORMS[self.settings["norm"]]()))
        return Networks({"classifier": ClassificationNetwork(self.backbone, nn.Linear(8, 3))})

    def build_terms(self) -> dict[str, LossTerm]:
        supervised = SupervisedLossHead(nn.CrossEntropyLoss())
        head = FixMatchLossHead(threshold=self.settings["threshold"])
        return {"supervised": LossTerm(supervised), "fixmatch": LossTerm(head)}


FIELDS = {"supervised": {"image", "target"}, "unlabeled": {"weak", "strong"}}


def make_batch(rows: int = 6) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    names = ("supervised.image", "unlabeled.weak", "unlabeled.strong")
    images = {n: torch.randn(rows, 3, 9, 9, generator=generator).double() for n in names}
    return {**images, "supervised.target": torch.arange(rows) % 3}


def decided(learner: FixMatch, batch: dict[str, Tensor]) -> FixMatch:
    """A learner that has settled how its forwards are run."""
    learner.double().make_plan(FIELDS)
    assert learner._choice is not None
    learner._choice.drop_inexact(batch)
    learner._choice.decide(batch, nullcontext)
    learner.backbone.rows.clear()
    return learner


@pytest.mark.parametrize("forward", ["separate", "joined"])
@pytest.mark.parametrize(("threshold", "kept"), [(0.0, 6), ("half", 3), (1.0, 0)])
def test_loss_and_gradients_of_fixmatch_are_those_of_all_rows(
    threshold: Any, kept: int, forward: str
) -> None:
    found = []
    for rows in ("off", "on"):
        settings = {"norm": "group", "threshold": 1.0, "forward": forward, "rows": rows}
        learner = decided(FixMatch(settings), make_batch())
        if threshold == "half":
            logits = learner.networks["classifier"](make_batch()["unlabeled.weak"])["logits"]
            threshold = float(logits.detach().softmax(dim=1).amax(dim=1).sort().values[3])
        head: Any = learner.terms["fixmatch"].head
        head.policy.threshold = FixedThreshold(threshold)
        learner.backbone.rows.clear()
        loss = learner.training_step(make_batch(), 0)
        loss.backward()
        parameters = dict(learner.named_parameters())
        found.append([loss.detach(), *(p.grad for p in parameters.values())])
        run = 6 if rows == "off" else kept
        assert sum(learner.backbone.rows) == 6 + 6 + run
    for of_all, of_some in zip(*found, strict=True):
        torch.testing.assert_close(of_some, of_all, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("norm", "rows", "left_out"),
    [
        ("group", "auto", ["classifier"]),
        ("group", "on", ["classifier"]),
        ("group", "off", []),
        ("group", False, []),  # as which YAML reads off
        ("batch", "auto", []),
        ("batch", "on", []),
        ("dropout", "auto", []),
        ("dropout", "on", ["classifier"]),
    ],
)
def test_rows_are_left_out_where_they_do_not_matter_to_others(
    norm: str, rows: Any, left_out: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sesemi_like.learners.left_out.is_joined_faster", lambda *_: True)
    learner = decided(FixMatch({"norm": norm, "threshold": 1.0, "rows": rows}), make_batch())
    assert learner.rows_in_use == left_out
    layers: Any = learner.backbone.layers
    before = [buffer.clone() for buffer in learner.buffers()]
    learner._choice.drop_inexact(make_batch())
    assert all(map(torch.equal, before, learner.buffers()))
    assert layers[1].training


def test_in_evaluation_mode_batchnorm_does_not_see_other_rows() -> None:
    learner = FixMatch({"norm": "batch", "threshold": 1.0, "rows": "on"})
    learner.backbone.eval()
    assert decided(learner, make_batch()).rows_in_use == ["classifier"]


@pytest.mark.parametrize(("is_faster", "left_out"), [(True, ["classifier"]), (False, [])])
def test_auto_leaves_rows_out_where_running_half_of_them_is_faster(
    is_faster: bool, left_out: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[tuple[int, int]] = []

    def trial(whole: ForwardPlan, half: ForwardPlan, batch: Any, context: Any) -> bool:
        rows = learner.backbone.rows
        counts = []
        for plan in (whole, half):
            rows.clear()
            plan.run(batch)
            counts.append(sum(rows))
        timed.append((counts[0], counts[1]))
        return is_faster

    monkeypatch.setattr("sesemi_like.learners.left_out.is_joined_faster", trial)
    settings = {"norm": "group", "threshold": 1.0, "forward": "separate"}
    learner = FixMatch(settings)
    decided(learner, make_batch())
    assert timed == [(18, 15)]
    assert learner.rows_in_use == left_out
    learner._choice.decide(make_batch(), nullcontext)
    assert len(timed) == 1


def test_a_resumed_run_goes_on_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sesemi_like.learners.left_out.is_joined_faster", lambda *_: False)
    first = decided(FixMatch({"norm": "group", "threshold": 1.0, "rows": "on"}), make_batch())
    checkpoint: dict[str, Any] = {"state_dict": first.state_dict()}
    first.on_save_checkpoint(checkpoint)
    resumed = FixMatch({"norm": "group", "threshold": 1.0}).double()
    resumed.make_plan(FIELDS)
    resumed.on_load_checkpoint(checkpoint)
    assert resumed.rows_in_use == ["classifier"]
    resumed._choice.decide(make_batch(), nullcontext)
    assert resumed.plan.selecting == {"classifier"}


def resumed_with(setting: str, checkpoint: dict[str, Any]) -> Any:
    resumed = FixMatch({"norm": "group", "threshold": 1.0, "rows": setting}).double()
    resumed.make_plan(FIELDS)
    resumed.on_load_checkpoint({"state_dict": resumed.state_dict(), **checkpoint})
    resumed._choice.decide(make_batch(), nullcontext)
    return resumed.rows_in_use


def test_a_run_of_an_earlier_version_goes_on_with_all_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sesemi_like.learners.left_out.is_joined_faster", lambda *_: True)
    assert resumed_with("auto", {}) == []
    assert resumed_with("auto", {"rows": None}) == ["classifier"]  # it had not decided yet


def test_what_is_asked_for_counts_more_than_what_was_done_before() -> None:
    assert resumed_with("on", {"rows": []}) == ["classifier"]
    assert resumed_with("off", {"rows": ["classifier"]}) == []


def test_it_is_said_where_all_rows_are_run(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        decided(FixMatch({"norm": "batch", "threshold": 1.0, "rows": "auto"}), make_batch())
        assert not [r for r in caplog.records if "all rows" in r.getMessage()]
        decided(FixMatch({"norm": "batch", "threshold": 1.0, "rows": "on"}), make_batch())
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warned) == 1 and "classifier" in warned[0] and "BatchNorm" in warned[0]


def test_without_requests_that_weigh_rows_there_is_nothing_to_decide() -> None:
    plan = ForwardPlan({"h": {"a": Forward("a.x", "net")}}, Networks({"net": nn.Linear(2, 2)}))
    choice = RowChoice(plan.weighed, "on")
    assert not choice.is_open
    assert choice.decide(plan, {}, nullcontext) is plan
