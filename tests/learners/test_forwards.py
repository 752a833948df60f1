"""The plan runs each distinct forward once, whoever asks for it and however it is chained."""

from typing import Any

import pytest
import torch
from torch import nn

from sesemi_like.learners.forwards import ForwardPlan, request_problems
from sesemi_like.models.heads.loss.base import Forward
from sesemi_like.models.networks import Networks


class Recorder(nn.Module):
    """Doubles its rows and remembers each call: how many rows, and whether gradients were on."""

    def __init__(self, factor: float = 2.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(factor))
        self.calls: list[Any] = []

    def forward(self, x: Any) -> Any:
        self.calls.append((len(x), torch.is_grad_enabled()))
        return {"out": self.weight * x}

    def project(self, answer: Any) -> Any:
        self.calls.append(("project", torch.is_grad_enabled()))
        return answer["out"] + 1


class Pair(nn.Module):
    def forward(self, a: Any, b: Any) -> Any:
        return a["out"] - b["out"]


def make_networks() -> Any:
    return Networks({"net": Recorder(), "pair": Pair()}, aliases={"other": "net"})


BATCH = {"a.x": torch.tensor([[1.0], [2.0]]), "b.x": torch.tensor([[5.0]])}


def test_equal_requests_run_once_and_aliases_are_equal() -> None:
    networks = make_networks()
    requests = {"h1": {"q": Forward("a.x", "net")}, "h2": {"r": Forward("a.x", "other")}}
    answers = ForwardPlan(requests, networks).run(BATCH)
    assert networks.module("net").calls == [(2, True)]
    assert answers["h1"]["q"]["out"] is answers["h2"]["r"]["out"]
    torch.testing.assert_close(answers["h1"]["q"]["out"], torch.tensor([[2.0], [4.0]]))


def test_reader_without_gradients_shares_the_forward_detached() -> None:
    networks = make_networks()
    requests = {"h1": {"q": Forward("a.x", "net")}, "h2": {"r": Forward("a.x", "net", grad=False)}}
    answers = ForwardPlan(requests, networks).run(BATCH)
    assert networks.module("net").calls == [(2, True)]
    assert answers["h1"]["q"]["out"].requires_grad
    assert not answers["h2"]["r"]["out"].requires_grad


def test_forward_nobody_wants_gradients_of_runs_without() -> None:
    networks = make_networks()
    ForwardPlan({"h": {"q": Forward("a.x", "net", grad=False)}}, networks).run(BATCH)
    assert networks.module("net").calls == [(2, False)]


def test_chain_and_tuple_are_computed_inner_first_and_once() -> None:
    networks = make_networks()
    a, b = Forward("a.x", "net"), Forward("a.x", "net")
    requests = {
        "h1": {"difference": Forward((a, b), "pair")},
        "h2": {"projected": Forward(a, "net.project"), "a": a},
    }
    answers = ForwardPlan(requests, networks).run(BATCH)
    assert networks.module("net").calls == [(2, True), ("project", True)]
    torch.testing.assert_close(answers["h1"]["difference"], torch.zeros(2, 1))
    torch.testing.assert_close(answers["h2"]["projected"], torch.tensor([[3.0], [5.0]]))


def test_inner_request_without_gradients_is_detached_for_the_outer_one() -> None:
    networks = make_networks()
    inner = Forward("a.x", "net", grad=False)
    answers = ForwardPlan({"h": {"q": Forward((inner, inner), "pair")}}, networks).run(BATCH)
    assert not answers["h"]["q"].requires_grad


@pytest.mark.parametrize("joined", [False, True])
def test_joined_and_separate_agree_where_rows_are_independent(joined: bool) -> None:
    networks = make_networks()
    requests = {"h": {"a": Forward("a.x", "net"), "b": Forward("b.x", "net")}}
    answers = ForwardPlan(requests, networks, joined=joined).run(BATCH)
    calls = [(3, True)] if joined else [(2, True), (1, True)]
    assert networks.module("net").calls == calls
    torch.testing.assert_close(answers["h"]["a"]["out"], 2 * BATCH["a.x"])
    torch.testing.assert_close(answers["h"]["b"]["out"], 2 * BATCH["b.x"])


def test_joined_leaves_rows_of_other_shapes_apart() -> None:
    networks = make_networks()
    batch = {"a.x": torch.ones(2, 1), "b.x": torch.ones(1, 3)}
    requests = {"h": {"a": Forward("a.x", "net"), "b": Forward("b.x", "net")}}
    answers = ForwardPlan(requests, networks, joined=True).run(batch)
    assert answers["h"]["b"]["out"].shape == (1, 3)


def test_joined_never_mixes_forwards_with_and_without_gradients() -> None:
    networks = make_networks()
    requests = {"h": {"a": Forward("a.x", "net"), "b": Forward("b.x", "net", grad=False)}}
    ForwardPlan(requests, networks, joined=True).run(BATCH)
    assert sorted(networks.module("net").calls) == [(1, False), (2, True)]


def test_fields_are_read_as_they_are_and_listed() -> None:
    request = Forward(Forward("a.x", "net"), "net.project")
    plan = ForwardPlan({"h": {"t": Forward.field("b.x"), "p": request}}, make_networks())
    assert plan.fields == ["a.x", "b.x"]
    assert plan.run(BATCH)["h"]["t"] is BATCH["b.x"]


def test_every_wrong_request_is_reported_with_similar_names() -> None:
    requests = {
        "h1": {"q": Forward("a.xx", "net"), "r": Forward("aa.x", "net")},
        "h2": {"q": Forward(Forward("a.x", "nett"), "net.projekt")},
    }
    fields = {"a": {"x", "y"}, "b": {"x"}}
    keys = {"h1": "heads.h1", "h2": "heads.h2"}
    problems = request_problems(requests, fields, make_networks(), keys)
    assert [(p.key, p.value) for p in problems] == [
        ("heads.h1", "a.xx"),
        ("heads.h1", "aa.x"),
        ("heads.h2", "net.projekt"),
        ("heads.h2", "nett"),
    ]
    assert "it offers: x, y" in problems[0].expected
    assert "'net'" in problems[3].expected
