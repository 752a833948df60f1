"""Which rows a network is called on: none that weigh nothing, and never on no rows at all."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck

from sesemi_like.learners.forwards import ForwardPlan
from sesemi_like.learners.forwards.rows import Kept
from sesemi_like.models.heads.loss.base import Forward
from sesemi_like.models.networks import Networks


class Picky(nn.Module):
    """Fails on an empty batch, as many networks do; answers features and logits."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.calls: list[int] = []

    def forward(self, x: Tensor) -> dict[str, Any]:
        if not len(x):
            raise RuntimeError("no rows")
        self.calls.append(len(x))
        features = self.layer(x)
        return {"features": features, "parts": [features.tanh(), features.argmax(dim=1)]}


class Head:
    def mask(self, weights: Tensor) -> Tensor:
        return weights


def picky() -> tuple[Networks, Any]:
    torch.manual_seed(0)
    networks = Networks({"net": Picky(), "second": nn.Linear(2, 2)}).double()
    return networks, networks.module("net")


def rows_of(*counts: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = {f"{name}.x": (n, 3) for name, n in zip("abc", counts, strict=False)}
    return {
        name: torch.randn(shape, generator=generator).double() for name, shape in shapes.items()
    }


A, B = Forward("a.x", "net"), Forward("b.x", "net")
MASK = Forward("a.weights", "self.mask", grad=False)
SELECTED = Forward("a.x", "net", rows=MASK)


def make_plan(networks: Networks, requests: dict[str, Forward], **settings: Any) -> ForwardPlan:
    return ForwardPlan({"h": requests}, networks, heads={"h": Head()}, **settings)


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("is_known", [False, True])
def test_a_network_is_not_called_on_no_rows_and_stays_in_the_graph(
    joined: bool, is_known: bool
) -> None:
    networks, net = picky()
    plan = make_plan(networks, {"a": A, "b": B}, joined=joined)
    if is_known:
        plan.run(rows_of(2, 2))
    net.calls.clear()
    answers = plan.run(rows_of(0, 0))["h"]
    assert net.calls == ([] if is_known else [1])  # one row of zeros, to learn what it returns
    for answer in answers.values():
        assert answer["features"].shape == answer["parts"][0].shape == (0, 2)
        assert answer["parts"][1].shape == (0,) and answer["parts"][1].dtype == torch.int64
    answers["b"]["features"].sum().backward()
    gradients = [parameter.grad for parameter in net.parameters()]
    assert all(gradient is not None and not gradient.any() for gradient in gradients)


def test_no_rows_reach_the_networks_before_through_a_chain() -> None:
    networks, net = picky()
    features = Forward(A, "features")
    plan = ForwardPlan(
        {"h": {"r": Forward(features, "second")}},
        networks,
        functions={"features": lambda answer: answer["features"]},
    )
    plan.run(rows_of(2))["h"]["r"].sum().backward()
    assert net.layer.weight.grad.any()
    networks.zero_grad()
    plan.run(rows_of(0))["h"]["r"].sum().backward()
    assert net.layer.weight.grad is not None and not net.layer.weight.grad.any()


def test_a_request_without_rows_shares_the_call_of_those_that_have_some() -> None:
    networks, net = picky()
    answers = make_plan(networks, {"a": A, "b": B}, joined=True).run(rows_of(2, 0))["h"]
    assert net.calls == [2]
    assert answers["b"]["features"].shape == (0, 2)


def test_without_gradients_no_rows_need_no_graph() -> None:
    networks, _ = picky()
    plan = make_plan(networks, {"a": Forward("a.x", "net", grad=False)})
    assert not plan.run(rows_of(0))["h"]["a"]["features"].requires_grad


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("kept", [[], [2], [0, 2, 3], [0, 1, 2, 3]])
def test_rows_of_weight_zero_are_left_out_and_gradients_are_the_same(
    kept: list[int], joined: bool
) -> None:
    weights = torch.zeros(4, dtype=torch.float64)
    weights[kept] = torch.tensor([0.5, 2.0, 1.0, 3.0], dtype=torch.float64)[: len(kept)]
    batch = {**rows_of(4, 3), "a.weights": weights}
    gradients = []
    for selecting in ((), ("net",)):
        networks, net = picky()
        requests = {"a": SELECTED, "w": MASK, "b": B}
        plan = make_plan(networks, requests, joined=joined, selecting=selecting)
        answers = plan.run(batch)["h"]
        assert sum(net.calls) == 3 + (len(kept) if selecting else 4)
        losses = answers["a"]["features"].square().sum(dim=1) * answers["w"]
        total = losses.sum() + answers["b"]["parts"][0].sum()
        gradients.append(torch.autograd.grad(total, list(net.parameters())))
    for all_rows, selected in zip(*gradients, strict=True):
        torch.testing.assert_close(all_rows, selected, rtol=1e-12, atol=1e-12)


def test_rows_that_were_not_run_are_zero_and_the_others_in_their_places() -> None:
    networks, net = picky()
    batch = {**rows_of(3), "a.weights": torch.tensor([0.0, 1.0, 0.0])}
    answer = make_plan(networks, {"a": SELECTED}, selecting=["net"]).run(batch)["h"]["a"]
    expected = net.layer(batch["a.x"]) * torch.tensor([[0.0], [1.0], [0.0]])
    torch.testing.assert_close(answer["features"], expected)
    assert answer["parts"][1].tolist()[::2] == [0, 0]


def test_gradients_through_left_out_rows_are_those_of_finite_differences() -> None:
    networks, _ = picky()
    plan = make_plan(networks, {"a": SELECTED}, selecting=["net"])

    def features(x: Tensor) -> Tensor:
        batch = {"a.x": x, "a.weights": torch.tensor([1.0, 0.0, 1.0])}
        return plan.run(batch)["h"]["a"]["features"]

    x = rows_of(3)["a.x"].requires_grad_()
    assert gradcheck(features, (x,))


def test_who_wants_all_rows_shares_them() -> None:
    networks, net = picky()
    batch = {**rows_of(3), "a.weights": torch.tensor([0.0, 1.0, 0.0])}
    plan = make_plan(networks, {"all": A, "some": SELECTED}, selecting=["net"])
    answers = plan.run(batch)["h"]
    assert net.calls == [3]
    assert answers["all"] is answers["some"]


def test_one_weight_a_row() -> None:
    networks, _ = picky()
    plan = make_plan(networks, {"a": SELECTED}, selecting=["net"])
    with pytest.raises(ValueError, match=r"rows: found \(2,\) weights for 3 rows"):
        plan.run({**rows_of(3), "a.weights": torch.ones(2)})


def test_each_policy_of_batchnorm_is_a_call_of_its_own() -> None:
    norm = nn.BatchNorm1d(3, momentum=1.0)
    networks = Networks({"net": norm})
    batch = {n: x.float() for n, x in rows_of(4, 5, 6).items()}
    requests = {
        "update": Forward("a.x", "net"),
        "batch": Forward("b.x", "net", norm="batch"),
        "eval": Forward("c.x", "net", norm="eval"),
    }
    answers = ForwardPlan({"h": requests}, networks, joined=True).run(batch)["h"]
    a, b, c = batch.values()
    for name, x, (mean, variance) in (
        ("update", a, (a.mean(0), a.var(0, correction=0))),
        ("batch", b, (b.mean(0), b.var(0, correction=0))),
        ("eval", c, (a.mean(0), a.var(0))),  # the running ones, which the first call has moved
    ):
        torch.testing.assert_close(answers[name], (x - mean) / (variance + norm.eps).sqrt())
    torch.testing.assert_close(norm.running_mean, a.mean(0))


def test_without_normalization_layers_policies_make_no_difference() -> None:
    networks, net = picky()
    requests = {"update": A, "batch": Forward("a.x", "net", norm="batch")}
    answers = make_plan(networks, requests).run(rows_of(2))["h"]
    assert net.calls == [2]
    assert answers["update"] is answers["batch"]


def test_chosen_images_keep_their_memory_format() -> None:
    images = torch.randn(4, 3, 5, 5).contiguous(memory_format=torch.channels_last)
    kept = Kept.of(torch.tensor([1.0, 0.0, 0.0, 2.0]), [images])
    (chosen,) = kept.select([images])
    assert chosen.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(chosen, images[[0, 3]])
