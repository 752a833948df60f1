"""MixMatch's mixing is requests: guessed labels, one shuffle and one draw, then the classifier.

Berthelot et al., "MixMatch", 2019, arXiv 1905.02249, algorithm 1, on two loaders of N rows each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sesemi_like.learners import Learner, LossTerm
from sesemi_like.models.heads.loss.base import (
    Fields,
    Forward,
    LossHead,
    LossOutputs,
    LossValues,
    Step,
)
from sesemi_like.models.networks import Networks

CLASSES, ALPHA, TEMPERATURE, WEIGHT = 3, 0.75, 0.5, 75.0
VIEWS = ("unlabeled.weak", "unlabeled.weak_2")


class MixMatch(LossHead):
    def forwards(self, fields: Fields) -> dict[str, Forward]:
        guesses = tuple(Forward(view, grad=False, norm="batch") for view in VIEWS)
        guess = Forward((guesses,), "self.sharpen", grad=False)
        images = Forward(("labeled.image", *VIEWS), "self.stack", grad=False)
        labels = Forward(("labeled.target", guess), "self.label", grad=False)
        mixed = Forward((images, labels), "self.mix", grad=False)
        return {
            "mixed": mixed,
            "labeled": Forward(Forward(mixed, ".labeled", grad=False)),
            "first": Forward(Forward(mixed, ".first", grad=False), norm="batch"),
            "second": Forward(Forward(mixed, ".second", grad=False), norm="batch"),
        }

    def sharpen(self, guesses: tuple[Tensor, ...]) -> Tensor:
        mean = torch.stack([logits.softmax(dim=1) for logits in guesses]).mean(dim=0)
        sharp = mean ** (1 / TEMPERATURE)
        return sharp / sharp.sum(dim=1, keepdim=True)

    def stack(self, *images: Tensor) -> Tensor:
        return torch.cat(images)

    def label(self, target: Tensor, guess: Tensor) -> Tensor:
        return torch.cat([F.one_hot(target, CLASSES).to(guess), guess, guess])

    def mix(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        seed = int(torch.randint(2**31, (), generator=generator))
        drawn = torch.from_numpy(np.random.default_rng(seed).beta(ALPHA, ALPHA, len(images)))
        share = torch.maximum(drawn, 1 - drawn).to(images)[:, None]
        others = torch.randperm(len(images), generator=generator)
        mixed = share * images + (1 - share) * images[others]
        parts = dict(zip(("labeled", "first", "second"), mixed.chunk(3), strict=True))
        labels = share * labels + (1 - share) * labels[others]
        return {**parts, "labels": labels, "share": share, "others": others}

    def forward(self, outputs: Mapping[str, Any], step: Step) -> LossOutputs:
        labels, *guesses = outputs["mixed"]["labels"].chunk(3)
        supervised = F.cross_entropy(outputs["labeled"], labels, reduction="none")
        predicted = torch.cat([outputs["first"], outputs["second"]]).softmax(dim=1)
        distance = (predicted - torch.cat(guesses)).square().mean(dim=1)
        return LossOutputs({"x": supervised, "u": LossValues(distance, coefficient=WEIGHT)})


class Mixing(Learner):
    def build_networks(self) -> Networks:
        layers = (nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, CLASSES))
        return Networks({"classifier": nn.Sequential(*layers)}).double()

    def build_terms(self) -> dict[str, LossTerm]:
        return {"mixmatch": LossTerm(MixMatch())}


ROWS = 4
FIELDS = {"labeled": {"image", "target"}, "unlabeled": {"weak", "weak_2"}}


@pytest.fixture
def learner() -> Mixing:
    torch.manual_seed(0)
    built = Mixing({})
    built.make_plan(FIELDS)
    return built


@pytest.fixture
def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    names = ("labeled.image", *VIEWS)
    images = {n: torch.randn(ROWS, 4, generator=generator, dtype=torch.float64) for n in names}
    return {**images, "labeled.target": torch.tensor([0, 2, 1, 2])}


def predict_by_hand(network: Any, x: Tensor) -> Tensor:
    """The classifier, which normalizes by the batch, without its BatchNorm layer."""
    hidden = network[0](x)
    mean, variance = hidden.mean(dim=0), hidden.var(dim=0, correction=0)
    hidden = (hidden - mean) / (variance + network[1].eps).sqrt()
    return network[3](torch.tanh(hidden * network[1].weight + network[1].bias))


def test_loss_and_gradients_are_those_of_the_algorithm(
    learner: Mixing, batch: dict[str, Tensor]
) -> None:
    mixed = learner.plan.run(batch, seed=5)["mixmatch"]["mixed"]
    learner.seed = 5
    parameters = list(learner.parameters())
    found = torch.autograd.grad(loss := learner.training_step(batch, 0), parameters)

    network, (share, others) = learner.networks["classifier"], (mixed["share"], mixed["others"])
    with torch.no_grad():
        first, second = (predict_by_hand(network, batch[view]).softmax(dim=1) for view in VIEWS)
        mean = (first + second) / 2
        guess = mean**2 / (mean**2).sum(dim=1, keepdim=True)  # 1 / temperature is 2
    x = torch.cat([batch["labeled.image"], *(batch[view] for view in VIEWS)])
    y = torch.cat([torch.eye(CLASSES).double()[batch["labeled.target"]], guess, guess])
    x, y = (share * v + (1 - share) * v[others] for v in (x, y))
    logits = [predict_by_hand(network, part) for part in x.split(ROWS)]
    supervised = -(y[:ROWS] * logits[0].log_softmax(dim=1)).sum(dim=1).mean()
    unlabeled = ((torch.cat(logits[1:]).softmax(dim=1) - y[ROWS:]) ** 2).mean()
    expected = supervised + WEIGHT * unlabeled
    torch.testing.assert_close(loss, expected, check_dtype=False)
    for one, other in zip(found, torch.autograd.grad(expected, parameters), strict=True):
        torch.testing.assert_close(one, other)


def test_shares_are_a_half_or_more_and_all_rows_take_part(
    learner: Mixing, batch: dict[str, Tensor]
) -> None:
    drawn = [learner.plan.run(batch, seed)["mixmatch"]["mixed"] for seed in range(200)]
    shares = torch.cat([mixed["share"] for mixed in drawn])
    assert float(shares.min()) >= 0.5 and float(shares.max()) <= 1
    # The mean of max(b, 1 - b) for b of Beta(0.75, 0.75), by its quantiles.
    quantiles = scipy.stats.beta(ALPHA, ALPHA).ppf((np.arange(10000) + 0.5) / 10000)
    assert float(shares.mean()) == pytest.approx(np.maximum(quantiles, 1 - quantiles).mean(), 0.01)
    assert all(sorted(m["others"].tolist()) == list(range(3 * ROWS)) for m in drawn)


def test_statistics_move_once_by_the_mixed_labeled_rows(
    learner: Mixing, batch: dict[str, Tensor]
) -> None:
    network: Any = learner.networks["classifier"]
    mixed = learner.plan.run(batch, seed=5)["mixmatch"]["mixed"]
    assert int(network[1].num_batches_tracked) == 1
    moved = 0.1 * network[0](mixed["labeled"]).mean(dim=0)
    torch.testing.assert_close(network[1].running_mean, moved)
