"""Functions and methods of heads are nodes of the plan: shared, seeded, and chained further."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sesemi_like.learners.forwards import ForwardPlan, request_problems
from sesemi_like.models.heads.loss.base import Forward
from sesemi_like.models.networks import Networks


class Doubler(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))
        self.calls: list[int] = []

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        self.calls.append(len(x))
        return self.weight * (x + sum(others))


class Mixing:
    """Stands for a loss head with methods of its own."""

    def __init__(self) -> None:
        self.calls = 0

    def mix(self, a: Tensor, b: Tensor, generator: torch.Generator) -> Tensor:
        self.calls += 1
        share = torch.rand(len(a), 1, generator=generator)
        return share * a + (1 - share) * b


def make_networks() -> Networks:
    return Networks({"net": Doubler()}, aliases={"other": "net"})


BATCH = {"a.x": torch.zeros(4, 1), "b.x": torch.ones(4, 1)}
MIXED = Forward(("a.x", "b.x"), "self.mix")


def draw(requests: dict[str, Forward], heads: Any, seed: int, **settings: Any) -> dict[str, Tensor]:
    plan = ForwardPlan({"h": requests}, make_networks(), heads=heads, **settings)
    return plan.run(BATCH, seed)["h"]


def test_a_method_of_the_head_is_run_once_and_what_follows_goes_through_networks() -> None:
    head = Mixing()
    requests = {"mixed": MIXED, "out": Forward(MIXED, "net"), "again": Forward(MIXED, "other")}
    answers = draw(requests, {"h": head}, 3)
    assert head.calls == 1
    torch.testing.assert_close(answers["out"], 2 * answers["mixed"])
    assert answers["again"] is answers["out"]


def test_methods_of_two_heads_are_two_forwards_and_draw_apart() -> None:
    heads = {"h": Mixing(), "i": Mixing()}
    plan = ForwardPlan({n: {"m": MIXED} for n in heads}, make_networks(), heads=heads)
    answers = plan.run(BATCH, 3)
    assert [head.calls for head in heads.values()] == [1, 1]
    assert not torch.equal(answers["h"]["m"], answers["i"]["m"])


@pytest.mark.parametrize("settings", [{}, {"joined": True}])
def test_draws_depend_on_the_seed_and_the_request_alone(settings: Any) -> None:
    first = draw({"m": MIXED}, {"h": Mixing()}, 3)["m"]
    further = {"x": Forward("b.x", "net"), "y": Forward(("b.x", "a.x"), "self.mix"), "m": MIXED}
    torch.manual_seed(5)
    among_others = draw(further, {"h": Mixing()}, 3, **settings)
    assert torch.equal(first, among_others["m"])
    assert not torch.equal(first, 1 - among_others["y"])
    assert not torch.equal(first, draw({"m": MIXED}, {"h": Mixing()}, 4)["m"])
    assert float(first.min()) >= 0 and float(first.max()) <= 1 and len(first.unique()) == 4


def test_a_function_of_the_learner_is_shared_by_all_heads() -> None:
    calls = []
    functions = {"add": lambda a, b: calls.append(1) or a + b}
    request = Forward(Forward(("a.x", "b.x"), "add"), "net")
    requests = {"h": {"r": request}, "i": {"r": request}}
    answers = ForwardPlan(requests, make_networks(), functions=functions).run(BATCH)
    assert calls == [1]
    torch.testing.assert_close(answers["i"]["r"], torch.full((4, 1), 2.0))


def test_functions_are_not_stacked_and_a_network_after_them_is() -> None:
    networks, sizes = make_networks(), []
    functions = {"same": lambda x: sizes.append(len(x)) or x}
    requests = {f: Forward(Forward(f, "same"), "net") for f in BATCH}
    ForwardPlan({"h": requests}, networks, functions=functions, joined=True).run(BATCH)
    assert sizes == [4, 4]
    assert networks.module("net").calls == [8]


def test_what_a_function_passes_on_is_detached_for_a_reader_without_gradients() -> None:
    functions = {"same": lambda x: x}
    request = Forward(Forward("a.x", "net"), "same", grad=False)
    answers = ForwardPlan({"h": {"r": request}}, make_networks(), functions=functions).run(BATCH)
    assert not answers["h"]["r"].requires_grad


def test_a_tuple_within_data_is_one_argument() -> None:
    def difference(pair: tuple[Tensor, Tensor], scale: Tensor) -> Tensor:
        return (pair[1] - pair[0]) * scale

    request = Forward((("a.x", Forward("b.x", "net")), "b.x"), "difference")
    plan = ForwardPlan({"h": {"r": request}}, make_networks(), functions={"difference": difference})
    torch.testing.assert_close(plan.run(BATCH)["h"]["r"], torch.full((4, 1), 2.0))
    assert plan.fields == ["a.x", "b.x"]


def test_requests_of_several_inputs_are_stacked() -> None:
    networks = make_networks()
    batch = {"a.x": torch.ones(2, 3), "b.x": torch.ones(3, 3), "c.x": torch.ones(3, 3)}
    requests = {
        "one": Forward("a.x", "net"),
        "two": Forward(("a.x", "a.x"), "net"),
        "other two": Forward(("b.x", "c.x"), "net"),
    }
    answers = ForwardPlan({"h": requests}, networks, joined=True).run(batch)["h"]
    assert networks.module("net").calls == [2, 5]
    assert [tuple(answers[n].shape) for n in requests] == [(2, 3), (2, 3), (3, 3)]
    torch.testing.assert_close(answers["other two"], torch.full((3, 3), 4.0))


def test_stacks_by_shape_where_there_are_several() -> None:
    networks = make_networks()
    batch = {"a.x": torch.ones(2, 3), "b.x": torch.ones(3, 1), "c.x": torch.ones(4, 3)}
    requests = {name: Forward(name, "net") for name in batch}
    answers = ForwardPlan({"h": requests}, networks, joined=True).run(batch)["h"]
    assert networks.module("net").calls == [6, 3]
    assert [len(answers[name]) for name in batch] == [2, 3, 4]


def test_a_call_waits_for_rows_that_can_join_it() -> None:
    """The second image depends on the first's answer; an unrelated one joins it all the same."""
    networks = make_networks()
    moved = Forward(Forward("a.x", "net", grad=False), "move", grad=False)
    requests = {"late": Forward(moved, "net"), "early": Forward("b.x", "net")}
    functions = {"move": lambda x: x + 1}
    plan = ForwardPlan({"h": requests}, networks, functions=functions, joined=True)
    plan.run(BATCH)
    assert networks.module("net").calls == [4, 8]


def test_a_field_that_answers_a_request_takes_its_place() -> None:
    networks = make_networks()
    latent = Forward("a.image", "net", grad=False)
    requests = {"h": {"r": Forward(latent, "net")}, "i": {"r": Forward("a.image", "other")}}
    plan = ForwardPlan(requests, networks, given={Forward("a.image", "net"): "a.latent"})
    assert plan.fields == ["a.latent"]
    answers = plan.run({"a.latent": torch.ones(2, 1)})
    assert networks.module("net").calls == [2]
    torch.testing.assert_close(answers["h"]["r"], torch.full((2, 1), 2.0))
    torch.testing.assert_close(answers["i"]["r"], torch.ones(2, 1))


@pytest.mark.parametrize("grad", [True, False])
def test_a_field_that_answers_a_part_of_a_request_leaves_the_rest_of_the_way(grad: bool) -> None:
    networks = Networks({"net": Doubler(), "rest": Doubler()})
    rest = Forward("a.latent", "rest")
    requests = {
        "h": {"r": Forward("a.image", "net", grad=grad)},
        "i": {"r": Forward(Forward("a.image", "net", grad=grad), "rest", grad=grad)},
    }
    plan = ForwardPlan(requests, networks, given={Forward("a.image", "net"): rest})
    assert plan.fields == ["a.latent"]
    assert plan.called == {"rest"}
    answers = plan.run({"a.latent": torch.full((2, 1), 3.0)})
    assert networks.module("net").calls == []
    expected = networks["rest"](torch.full((2, 1), 3.0))
    torch.testing.assert_close(answers["h"]["r"], expected)
    torch.testing.assert_close(answers["i"]["r"], networks["rest"](expected))
    assert answers["h"]["r"].requires_grad == grad


def test_what_answers_a_request_is_reported_where_it_does_not_exist() -> None:
    requests = {"h": {"r": Forward("a.image", "net")}}
    given = {Forward("a.image", "net"): Forward("a.latent", "nothing")}
    problems = request_problems(
        requests, {"a": {"image"}}, make_networks(), {"h": "heads.h"}, given=given
    )
    assert [problem.value for problem in problems] == ["nothing", "a.latent"]


def test_a_result_is_dropped_after_its_last_reader() -> None:
    alive: list[Callable[[], Any]] = []
    seen: list[list[bool]] = []

    def note(x: Tensor) -> Tensor:
        seen.append([reference() is not None for reference in alive])
        result = x + 1
        alive.append(weakref.ref(result))
        return result

    functions = {name: note for name in ("f", "g", "h", "i")}
    chain = Forward(Forward(Forward(Forward("a.x", "f"), "g"), "h"), "i")
    kept = ForwardPlan({"r": {"all": chain}}, make_networks(), functions=functions).run(BATCH)
    assert seen == [[], [True], [False, True], [False, False, True]]
    assert [reference() is None for reference in alive] == [True, True, True, False]
    torch.testing.assert_close(kept["r"]["all"], torch.full((4, 1), 4.0))


def test_no_request_is_hashed_in_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = {"a": Forward(MIXED, "net"), "b": Forward(MIXED, "net", grad=False)}
    plan = ForwardPlan({"h": requests}, make_networks(), heads={"h": Mixing()}, joined=True)

    def no_hash(request: Forward) -> int:
        raise AssertionError("a step looks requests up by their slots")

    monkeypatch.setattr(Forward, "__hash__", no_hash)
    plan.run(BATCH)


def test_methods_and_functions_that_do_not_exist_are_told_once() -> None:
    requests = {
        "h": {
            "q": Forward("a.x", "self.mixx"),
            "r": Forward("a.y", "net"),
            "s": Forward("a.x", "f"),
        },
        "i": {"q": Forward("a.y", "adds"), "r": Forward("a.y", "other")},
    }
    problems = request_problems(
        requests,
        {"a": {"x"}},
        make_networks(),
        {"h": "heads.h", "i": "heads.i"},
        heads={"h": Mixing()},
        functions={"add": torch.add, "f": torch.neg},
    )
    found = [(problem.key, problem.value) for problem in problems]
    assert found == [("heads.h", "self.mixx"), ("heads.h", "a.y"), ("heads.i", "adds")]
    assert "no such method" in problems[0].expected
    assert "did you mean 'add'" in problems[2].expected


def test_what_batchnorm_does_is_one_of_its_policies() -> None:
    wrong: Any = "frozen"
    requests = {"h": {"q": Forward("a.x", "net", norm=wrong)}}
    problems = request_problems(requests, {"a": {"x"}}, make_networks(), {"h": "heads.h"})
    assert [(p.value, "batch" in p.expected) for p in problems] == [("frozen", True)]


class Answering(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"features": 2 * x, "logits": x - 1}


def test_a_part_of_an_answer_goes_on_through_other_networks() -> None:
    networks = Networks({"classifier": Answering(), "net": Doubler()})
    whole = Forward("b.x")
    requests = {
        "whole": whole,
        "part": whole.part("logits"),
        "on": Forward(whole.part("features"), "net"),
    }
    plan = ForwardPlan({"h": requests}, networks)
    answers = plan.run(BATCH)["h"]
    assert answers["part"] is answers["whole"]["logits"]
    torch.testing.assert_close(answers["on"], torch.full((4, 1), 4.0))
    assert plan.num_calls == 2


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (Forward("b.x").part("feature"), "no part 'feature': found features, logits"),
        (Forward.field("b.x").part("features"), "no part 'features': found Tensor"),
    ],
)
def test_a_part_that_is_missing_is_named(request_: Forward, expected: str) -> None:
    plan = ForwardPlan({"h": {"x": request_}}, Networks({"classifier": Answering()}))
    with pytest.raises(ValueError, match=expected):
        plan.run(BATCH)
