"""All that is wrong with what loss heads ask for is told at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from sesemi_like.errors import ConfigError, ConfigProblem
from sesemi_like.learners import Learner, LossTerm
from sesemi_like.models.heads.loss.base import Fields, Forward, LossHead
from sesemi_like.models.networks import Networks


class Asking(LossHead):
    def __init__(self, ask: Callable[[Fields], dict[str, Forward]]) -> None:
        super().__init__()
        self.ask = ask

    def forwards(self, fields: Fields) -> dict[str, Forward]:
        return self.ask(fields)


def refuse(fields: Fields) -> dict[str, Forward]:
    raise ConfigError([ConfigProblem("heads.refuses.target", "text", "needs a text field")])


HEADS: dict[str, Callable[[Fields], dict[str, Forward]]] = {
    "works": lambda fields: {"x": Forward("a.x", "net")},
    "fails": lambda fields: {"x": Forward(f"a.{sorted(fields['b'])[0]}", "net")},
    "refuses": refuse,
    "misses": lambda fields: {"y": Forward("a.y", "net")},
    "misses too": lambda fields: {"y": Forward("a.y", "net"), "t": Forward.field("a.y")},
}


class Several(Learner):
    def build_networks(self) -> Networks:
        return Networks({"net": nn.Linear(2, 2)})

    def build_terms(self) -> dict[str, LossTerm]:
        return {name: LossTerm(Asking(ask), key=f"heads.{name}") for name, ask in HEADS.items()}


def test_every_head_that_fails_is_named_and_a_missing_field_told_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Several({}).make_plan({"a": {"x"}})
    found = [(problem.key, problem.value) for problem in caught.value.problems]
    assert found == [
        ("heads.fails", "Asking"),
        ("heads.refuses.target", "text"),
        ("heads.misses", "a.y"),
    ]
    assert "KeyError: 'b'" in caught.value.problems[0].expected


class Cached(Several):
    def build_terms(self) -> dict[str, LossTerm]:
        return {"works": LossTerm(Asking(HEADS["works"]))}

    def given(self, fields: Fields) -> dict[Forward, str]:
        return {Forward("a.x", "net"): "a.latent"} if "latent" in fields["a"] else {}


@pytest.mark.parametrize(
    ("fields", "read"),
    [({"x"}, ["a.x"]), ({"x", "latent"}, ["a.latent"]), ({"latent"}, ["a.latent"])],
)
def test_a_learner_reads_what_is_given_instead(fields: set[str], read: list[str]) -> None:
    plan = Cached({}).make_plan({"a": fields})
    assert plan.fields == read
    answer = plan.run({read[0]: torch.zeros(1, 2)})["works"]["x"]
    assert answer.requires_grad == (read == ["a.x"])
