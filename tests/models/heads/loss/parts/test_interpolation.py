"""Interpolated logits: between two forwards of the same rows, the same for all who ask for them."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sesemi_like.config.facts import DataFacts
from sesemi_like.learners.forwards import ForwardPlan
from sesemi_like.learners.forwards.canonical import within
from sesemi_like.models.heads.loss import (
    Forward,
    LossHead,
    PseudoLabelLossHead,
    Step,
    SupervisedLossHead,
)
from sesemi_like.models.heads.loss.parts import (
    INTERPOLATE,
    AverageAlignment,
    RelativePolicy,
    interpolate_logits,
)
from sesemi_like.models.networks import Networks

CLASSES = 5
SIZES = {"supervised.image": 6, "supervised.strong": 6, "unlabeled.weak": 9, "unlabeled.strong": 9}


class Net(nn.Module):
    """A classifier whose rows see each other by BatchNorm."""

    num_classes = CLASSES

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.linear = nn.BatchNorm1d(3), nn.Linear(3, CLASSES)

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        return {"logits": self.linear(self.norm(rows))}


def make_batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    batch = {
        name: torch.randn(rows, 3, generator=generator).double() * (i + 1) + i
        for i, (name, rows) in enumerate(SIZES.items())
    }
    return batch | {"supervised.target": torch.tensor([0, 1, 2, 3, 4, -1])}


def make_heads(interpolated: bool = True) -> dict[str, LossHead]:
    supervised = SupervisedLossHead(
        nn.CrossEntropyLoss(), views=["image", "strong"], interpolated=interpolated
    )
    adamatch = PseudoLabelLossHead(
        alignment=AverageAlignment("labelled"),
        policy=RelativePolicy(0.9),
        labelled_interpolated=interpolated,
    )
    return {"supervised": supervised.double(), "adamatch": adamatch.double()}


def run(heads: dict[str, LossHead], net: Net, seed: int = 3, **settings: Any) -> dict[str, Any]:
    networks = Networks({"classifier": net.double()})
    for head in heads.values():
        head.build(networks, DataFacts())
        head.double()
    requests = {name: head.forwards({}) for name, head in heads.items()}
    functions = {INTERPOLATE: interpolate_logits}
    plan = ForwardPlan(requests, networks, heads=heads, functions=functions, **settings)
    return plan.run(make_batch(), seed)


def normalized(rows: Tensor, seen: Tensor) -> np.ndarray[Any, Any]:
    """BatchNorm by the statistics of other rows, then the linear layer, in NumPy."""
    mean, variance = seen.numpy().mean(axis=0), seen.numpy().var(axis=0)
    net = Net().double()
    weight, bias = net.linear.weight.detach().numpy(), net.linear.bias.detach().numpy()
    return (rows.numpy() - mean) / np.sqrt(variance + 1e-5) @ weight.T + bias


def test_each_logit_lies_between_the_two_forwards() -> None:
    outputs, batch = run(make_heads(), Net(), together=True)["supervised"], make_batch()
    everything = torch.cat([batch[name] for name in SIZES])
    labeled = torch.cat([batch["supervised.image"], batch["supervised.strong"]])
    shares = []
    for view in ("image", "strong"):
        rows = batch[f"supervised.{view}"]
        joint, alone = normalized(rows, everything), normalized(rows, labeled)
        np.testing.assert_allclose(outputs[f"view.{view}"]["logits"].detach(), joint, rtol=1e-9)
        drawn = outputs[f"drawn.{view}"]["logits"].detach().numpy()
        shares.append((drawn - joint) / (alone - joint))
    share = np.concatenate(shares)
    assert share.min() >= 0
    assert share.max() < 1
    assert share.std() > 0.2
    assert len(np.unique(share.round(6))) == share.size, "drawn for each element"


def test_the_loss_is_that_of_the_drawn_logits_in_training_alone() -> None:
    heads = make_heads()
    outputs = run(heads, Net(), together=True)["supervised"]
    step = Step(0, None, Networks({}), {})
    for training, kind in ((True, "drawn"), (False, "view")):
        heads["supervised"].train(training)
        terms = heads["supervised"](outputs, step).terms
        for view in ("image", "strong"):
            expected = nn.functional.cross_entropy(
                outputs[f"{kind}.{view}"]["logits"][:5], torch.arange(5), reduction="none"
            )
            torch.testing.assert_close(terms[view].losses[:5], expected)
            assert terms[view].losses[5] == 0, "it has no label"


def test_parts_read_the_logits_that_the_loss_is_of() -> None:
    heads = make_heads()
    drawn = run(heads, Net(), together=True)["supervised"]["drawn.image"]["logits"][:5]
    largest = drawn.detach().softmax(dim=1).amax(dim=1).mean()
    found = heads["adamatch"].metrics(
        {"judged": {"weights": torch.ones(1), "logits": torch.zeros(1, 5)}}, None
    )
    torch.testing.assert_close(found["threshold"], 0.9 * largest)
    average = 0.999 * 0.2 + 0.001 * drawn.detach().softmax(dim=1).mean(dim=0)
    alignment: Any = heads["adamatch"]
    torch.testing.assert_close(alignment.alignment.target(), average, rtol=1e-6, atol=0)


def test_other_steps_draw_otherwise_and_the_same_step_alike() -> None:
    first, again, other = (
        run(make_heads(), Net(), seed=seed, together=True)["supervised"]["drawn.image"]["logits"]
        for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_running_statistics_follow_the_joint_rows_alone() -> None:
    net, batch = Net(), make_batch()
    run(make_heads(), net, together=True)
    mean = torch.cat([batch[name] for name in SIZES]).mean(dim=0)
    torch.testing.assert_close(net.norm.running_mean, 0.1 * mean)


def test_gradients_flow_into_both_forwards() -> None:
    joint, alone = (torch.randn(4, 3, requires_grad=True) for _ in range(2))
    drawn = interpolate_logits(
        {"logits": joint}, {"logits": alone}, torch.Generator().manual_seed(0)
    )["logits"]
    share = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    drawn.sum().backward()
    torch.testing.assert_close(alone.grad, share)
    torch.testing.assert_close(joint.grad, 1 - share)


def test_separate_forwards_work_and_are_the_same_logits() -> None:
    outputs = run(make_heads(), Net())["supervised"]
    torch.testing.assert_close(outputs["drawn.image"]["logits"], outputs["view.image"]["logits"])


@pytest.mark.parametrize("name", ["supervised", "adamatch"])
def test_off_it_asks_for_nothing_more(name: str) -> None:
    asked = make_heads(interpolated=False)[name].forwards({}).values()
    requests: list[Forward] = [inner for request in asked for inner in within(request)]
    assert not [r for r in requests if r.through == INTERPOLATE or r.norm == "batch"]
