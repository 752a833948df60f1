"""The supervised loss of mixed rows against its equation in NumPy, with gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from references.losses import cross_entropy, one_hot
from references.mixing import mix_rows
from references.tiny_network import Parameters, TinyNetwork, gradient, parameters_of, predict
from torch import Tensor, nn

from sesemi_like.learners import Learner, LossTerm
from sesemi_like.models.heads.loss import SupervisedLossHead
from sesemi_like.models.heads.loss.parts import Mixup
from sesemi_like.models.networks import Networks


class Recorded(Mixup):
    """Remembers what was mixed."""

    partners: Tensor
    shares: Tensor

    def __call__(
        self, rows: Tensor, partners: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        mixed, self.shares = super().__call__(rows, partners, generator)
        self.partners = partners
        return mixed, self.shares


class Supervised(Learner):
    def build_networks(self) -> Networks:
        torch.manual_seed(0)
        return Networks({"classifier": TinyNetwork()})

    def build_terms(self) -> dict[str, LossTerm]:
        return {"supervised": LossTerm(SupervisedLossHead(nn.CrossEntropyLoss(), **self.settings))}


def built(mixing: Mixup) -> Supervised:
    learner = Supervised({"mixing": mixing})
    learner.make_plan({"supervised": {"image", "target"}})
    return learner


def batch_of(rows: int, target: list[int]) -> dict[str, Tensor]:
    drawn = torch.Generator().manual_seed(3)
    images = torch.randn(rows, 4, generator=drawn, dtype=torch.float64)
    return {"supervised.image": images, "supervised.target": torch.tensor(target).long()}


def test_losses_and_gradients_are_those_of_the_equation() -> None:
    mixing = Recorded(1.0, at_least_half=False)
    learner, batch = built(mixing), batch_of(6, [0, 2, -1, 1, 2, -1])
    network, images = learner.networks.module("classifier"), batch["supervised.image"]
    target = batch["supervised.target"].numpy()
    for seed in range(3):
        learner.seed, given = seed, parameters_of(network)
        learner.zero_grad()
        loss = learner.training_step(batch, 0)
        others = [int((images == row).all(dim=1).nonzero()) for row in mixing.partners]
        assert {others[2], others[5]} == {2, 5}
        shares = mixing.shares.numpy()

        def by_hand(learned: Parameters, others: Any = others, shares: Any = shares) -> float:
            logits = predict(learned, mix_rows(images.numpy(), shares, others))
            own = cross_entropy(one_hot(target, 3), logits)
            partners = cross_entropy(one_hot(target[others], 3), logits)
            mixed = shares * own + (1 - shares) * partners
            return float(mixed[target >= 0].sum() / 4)

        assert loss.item() == pytest.approx(by_hand(given), rel=1e-9)
        loss.backward()
        for name, expected in gradient(by_hand, given).items():
            found = network.get_parameter(name).grad
            assert found is not None
            np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-8)


def test_nothing_is_mixed_in_evaluation() -> None:
    learner, batch = built(Mixup(1.0)), batch_of(4, [0, 2, 1, 1])
    learner.eval()
    loss = learner.training_step(batch, 0).item()
    logits = learner.networks["classifier"](batch["supervised.image"])["logits"]
    expected = nn.functional.cross_entropy(logits, batch["supervised.target"]).item()
    assert loss == pytest.approx(expected)


@pytest.mark.parametrize("target", [[], [-1, -1], [1, -1]])
def test_no_rows_and_one(target: list[int]) -> None:
    learner = built(Mixup(1.0))
    loss = learner.training_step(batch_of(len(target), target), 0)
    loss.backward()
    assert (loss.item() > 0) == (1 in target)


def test_rows_are_not_mixed_where_logits_are_interpolated() -> None:
    with pytest.raises(ValueError, match="interpolated: found true beside mixing"):
        SupervisedLossHead(nn.CrossEntropyLoss(), interpolated=True, mixing=Mixup())
