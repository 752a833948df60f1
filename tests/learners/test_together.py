"""All rows for a network in one call: they share BatchNorm's statistics, and some are detached.

What semilearn's `use_cat` does: labeled, weak and strong rows are concatenated, and the weak rows'
logits detached afterwards.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from composing import composed
from torch import nn

from sesemi_like.config.check import check
from sesemi_like.learners import Learner, LossTerm
from sesemi_like.learners.forwards import ForwardPlan
from sesemi_like.models.heads.loss import FixMatchLossHead, Forward, SupervisedLossHead
from sesemi_like.models.networks import Networks
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES

THRESHOLD = 0.35
SIZES = {"supervised.image": 4, "unlabeled.weak": 6, "unlabeled.strong": 6}


class Net(nn.Module):
    """A classifier whose rows see each other by BatchNorm, and that counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear, self.calls = nn.BatchNorm1d(3), nn.Linear(3, 5), 0

    def forward(self, rows: Any) -> Any:
        self.calls += 1
        return {"logits": self.linear(F.gelu(self.norm(rows)))}


def make_net() -> Net:
    torch.manual_seed(0)
    return Net().double()


def make_batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    batch = {
        name: torch.randn(rows, 3, generator=generator, dtype=torch.float64) * (i + 1)
        for i, (name, rows) in enumerate(SIZES.items())
    }
    return batch | {"supervised.target": torch.tensor([0, 1, 2, 3])}


class FixMatchLearner(Learner):
    def build_networks(self) -> Networks:
        return Networks({"classifier": make_net()})

    def build_terms(self) -> dict[str, LossTerm]:
        criterion = nn.CrossEntropyLoss(reduction="none")
        return {
            "supervised": LossTerm(SupervisedLossHead(criterion)),
            "fixmatch": LossTerm(FixMatchLossHead(threshold=THRESHOLD)),
        }


def by_hand(net: Net, batch: Any) -> torch.Tensor:
    """FixMatch's loss as semilearn computes it with `use_cat`."""
    logits = net(torch.cat([batch[name] for name in SIZES]))["logits"]
    labeled, weak, strong = logits.split(list(SIZES.values()))
    confidence, classes = weak.detach().softmax(dim=1).max(dim=1)
    losses = F.cross_entropy(strong, classes, reduction="none")
    mask = (confidence >= THRESHOLD).to(losses.dtype)
    assert 0 < mask.sum() < len(mask)
    return F.cross_entropy(labeled, batch["supervised.target"]) + (mask * losses).mean()


FIELDS = {"supervised": {"image", "target"}, "unlabeled": {"weak", "strong"}}


def test_a_step_is_that_of_one_concatenated_batch() -> None:
    learner, batch, expected_net = (
        FixMatchLearner({"forward": "together"}),
        make_batch(),
        make_net(),
    )
    plan = learner.make_plan(FIELDS)
    assert plan.num_calls == 1
    loss, expected = learner.training_step(batch, 0), by_hand(expected_net, batch)
    net: Any = learner.networks.module("classifier")
    assert (net.calls, learner.forward_in_use, learner.rows_in_use) == (1, "together", [])
    torch.testing.assert_close(loss.double(), expected)
    loss.backward()
    expected.backward()
    for parameter, other in zip(net.parameters(), expected_net.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad)
    for buffer, expected_buffer in zip(net.buffers(), expected_net.buffers(), strict=True):
        torch.testing.assert_close(buffer, expected_buffer)
    assert net.norm.num_batches_tracked == 1


def test_rows_asked_for_without_gradients_are_detached_and_move_the_statistics() -> None:
    net, batch = make_net(), make_batch()
    requests = {
        "h": {
            "labeled": Forward("supervised.image", "net"),
            "weak": Forward("unlabeled.weak", "net", grad=False),
        }
    }
    answers = ForwardPlan(requests, Networks({"net": net}), together=True).run(batch)["h"]
    assert net.calls == 1
    assert answers["labeled"]["logits"].requires_grad
    assert not answers["weak"]["logits"].requires_grad
    rows = torch.cat([batch["supervised.image"], batch["unlabeled.weak"]])
    torch.testing.assert_close(net.norm.running_mean, 0.1 * rows.mean(dim=0))


def test_a_call_that_nobody_wants_gradients_of_is_run_without() -> None:
    net, batch = make_net(), make_batch()
    requests = {"h": {n: Forward(n, "net", grad=False) for n in SIZES}}
    grad_modes: list[bool] = []
    net.register_forward_pre_hook(lambda *_: grad_modes.append(torch.is_grad_enabled()))
    ForwardPlan(requests, Networks({"net": net}), together=True).run(batch)
    assert grad_modes == [False]


def test_other_policies_of_batchnorm_and_other_networks_stay_apart() -> None:
    net = make_net()
    networks = Networks({"net": net, "other": make_net()})
    requests = {
        "h": {
            "labeled": Forward("supervised.image", "net"),
            "weak": Forward("unlabeled.weak", "net", grad=False, norm="batch"),
            "strong": Forward("unlabeled.strong", "net", norm="batch"),
            "other": Forward("unlabeled.weak", "other", grad=False),
        }
    }
    plan = ForwardPlan(requests, networks, together=True)
    assert plan.num_calls == 3
    plan.run(make_batch())
    assert net.norm.num_batches_tracked == 1


@pytest.mark.parametrize("empty", SIZES)
def test_a_request_without_rows_changes_nothing_for_the_others(empty: str) -> None:
    batch = make_batch()
    batch[empty] = batch[empty][:0]
    requests = {"h": {n: Forward(n, "net", grad=n != "unlabeled.weak") for n in SIZES}}
    answers = ForwardPlan(requests, Networks({"net": make_net()}), together=True).run(batch)["h"]
    expected = make_net()(torch.cat([batch[name] for name in SIZES]))["logits"]
    found = torch.cat([answers[name]["logits"] for name in SIZES])
    torch.testing.assert_close(found, expected)


SMALL = ["run.gpus=0", "run.num_iterations=2", "learner.hparams.model.backbone.widths=[4,8]"]
TOGETHER = "learner.hparams.model.forward=together"


def test_a_run_has_one_forward_and_a_resumed_one_goes_on_with_a_warning_where_it_differs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = composed("quickstart", "method=fixmatch", *SMALL, f"run.dir={tmp_path}", TOGETHER)
    run(config)
    (checkpoint,) = tmp_path.glob("*/*/checkpoints/last.ckpt")
    assert torch.load(checkpoint, weights_only=True)["forward"] == "together"
    config.run.resume_from_checkpoint, config.run.num_iterations = str(checkpoint), 3
    config.data.val = config.data.test = None
    run(config)
    assert "goes on as before" not in caplog.text
    config.learner.hparams.model.forward = "joined"
    run(config)
    assert "model.forward: together goes on as before" in caplog.text


def test_leaving_rows_out_of_a_forward_of_all_rows_is_reported() -> None:
    config = composed("quickstart", TOGETHER, "learner.hparams.model.rows=on")
    (problem,) = check(config, MODES)
    assert (problem.key, problem.value) == ("learner.hparams.model.rows", "on")
    assert "forward: together" in problem.expected
