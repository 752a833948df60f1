"""A global workspace of four domains, whose states are fused and whose cycles close, is requests.

What is asked for is listed one by one; the plan runs as few calls as there are ways to stack them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any, cast

import torch
from torch import Tensor, nn

from sesemi_like.learners import Learner, LossTerm
from sesemi_like.learners.forwards import ForwardPlan
from sesemi_like.models.heads.loss.base import Fields, Forward, LossHead, LossOutputs, Step
from sesemi_like.models.networks import Networks

DOMAINS = ("a", "b", "c", "d")
SIZES = {"a": 3, "b": 5, "c": 2, "d": 4}
CALLS: Counter[str] = Counter()


class Domain(nn.Module):
    """Raw data to a latent, the latent into the workspace, and a state back to a latent."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.latent = nn.Linear(size, 6)
        self.into = nn.Linear(6, 7)
        self.out_of = nn.Linear(7, 6)

    def encode(self, raw: Tensor) -> Tensor:
        CALLS["encode"] += 1
        return self.latent(raw)

    def to_workspace(self, latent: Tensor) -> Tensor:
        CALLS["to_workspace"] += 1
        return self.into(latent)

    def from_workspace(self, state: Tensor) -> Tensor:
        CALLS["from_workspace"] += 1
        return self.out_of(state)


class Fuse(nn.Module):
    def forward(self, *encoded: Tensor) -> Tensor:
        CALLS["fuse"] += 1
        return torch.tanh(torch.stack(encoded).mean(dim=0))


def subsets(domains: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return (s for size in range(1, len(domains) + 1) for s in combinations(domains, size))


LOADERS = {"".join(group): group for group in subsets(DOMAINS) if len(group) != 3}


class BroadcastHead(LossHead):
    def forwards(self, fields: Fields) -> dict[str, Forward]:
        found: dict[str, Forward] = {}
        for loader, group in LOADERS.items():
            latents = {i: Forward(f"{loader}.{i}", f"{i}.encode", grad=False) for i in group}
            found |= {f"{loader}/{i}": latent for i, latent in latents.items()}
            for s in subsets(group):
                state = self.state({i: latents[i] for i in s})
                outside = [d for d in DOMAINS if d not in s]
                decoded = {d: Forward(state, f"{d}.from_workspace") for d in DOMAINS}
                found |= {f"{loader}/{''.join(s)}>{d}": decoded[d] for d in group}
                if outside:
                    again = self.state({d: decoded[d] for d in outside})
                    back = {d: Forward(again, f"{d}.from_workspace") for d in s}
                    found |= {f"{loader}/{''.join(s)}>>{d}": y for d, y in back.items()}
        return found

    def state(self, latents: Mapping[str, Forward]) -> Forward:
        encoded = [Forward(x, f"{i}.to_workspace") for i, x in latents.items()]
        return Forward(tuple(encoded), "fuse")

    def forward(self, outputs: Mapping[str, Any], step: Step) -> LossOutputs:
        terms = {name: y for name, y in outputs.items() if ">" in name}
        latents = {name: outputs[f"{name.partition('/')[0]}/{name[-1]}"] for name in terms}
        return LossOutputs({n: (y - latents[n]).square().mean(dim=1) for n, y in terms.items()})


class Workspace(Learner):
    def build_networks(self) -> Networks:
        return Networks({**{d: Domain(size) for d, size in SIZES.items()}, "fuse": Fuse()})

    def build_terms(self) -> dict[str, LossTerm]:
        return {"broadcast": LossTerm(BroadcastHead())}


def make_plan(*, joined: bool) -> ForwardPlan:
    torch.manual_seed(0)
    learner = Workspace({"forward": "joined" if joined else "separate"}).double()
    return learner.make_plan({loader: set(group) for loader, group in LOADERS.items()})


def make_batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        f"{loader}.{d}": torch.randn(
            2 + len(group), SIZES[d], generator=generator, dtype=torch.float64
        )
        for loader, group in LOADERS.items()
        for d in group
    }


def decode_by_hand(networks: Networks, latents: Mapping[str, Tensor]) -> dict[str, Tensor]:
    domains: Any = networks.modules_by_name
    state = torch.tanh(sum(domains[i].into(x) for i, x in latents.items()) / len(latents))
    return {d: domains[d].out_of(state) for d in DOMAINS}


def test_every_state_and_cycle_is_what_calling_one_by_one_gives() -> None:
    plan, batch = make_plan(joined=True), make_batch()
    outputs, domains = plan.run(batch)["broadcast"], cast(Any, plan.networks.modules_by_name)
    compared = 0
    for loader, group in LOADERS.items():
        latents = {d: domains[d].latent(batch[f"{loader}.{d}"]) for d in group}
        for s in subsets(group):
            decoded = decode_by_hand(plan.networks, {d: latents[d] for d in s})
            for d in group:
                torch.testing.assert_close(outputs[f"{loader}/{''.join(s)}>{d}"], decoded[d])
                compared += 1
            outside = {d: decoded[d] for d in DOMAINS if d not in s}
            for d, y in decode_by_hand(plan.networks, outside).items() if outside else ():
                if d in s:
                    torch.testing.assert_close(outputs[f"{loader}/{''.join(s)}>>{d}"], y)
                    compared += 1
    # 20 demi-cycles, 40 translations, 40 fused and 56 cycles: the terms of four domains.
    assert compared == 156


def test_gradients_of_stacked_and_separate_forwards_agree() -> None:
    gradients = []
    for joined in (False, True):
        plan = make_plan(joined=joined)
        answers = [y for n, y in plan.run(make_batch())["broadcast"].items() if ">" in n]
        total = torch.stack([y.square().mean() for y in answers]).sum()
        trained = [p for n, p in plan.networks.named_parameters() if ".latent." not in n]
        gradients.append(torch.autograd.grad(total, trained))
    for separate, joined_gradient in zip(*gradients, strict=True):
        torch.testing.assert_close(separate, joined_gradient, rtol=1e-10, atol=1e-12)


def test_calls_are_as_few_as_stacking_allows() -> None:
    plan = make_plan(joined=True)
    CALLS.clear()
    plan.run(make_batch())
    # Each domain encodes its data, enters the workspace and leaves it twice; states are fused of
    # one to four domains, and of one to three once more.
    assert CALLS == {"encode": 4, "to_workspace": 8, "from_workspace": 8, "fuse": 7}
    assert plan.num_calls == 27


def test_each_distinct_forward_is_called_once_where_rows_stay_apart() -> None:
    plan = make_plan(joined=False)
    CALLS.clear()
    plan.run(make_batch())
    assert plan.num_calls == sum(CALLS.values())
    assert CALLS["fuse"] == 73
