"""The complement and the product of policies: weights, state, needs and targets of the inner."""

from typing import Any

import pytest
import torch
from parts_playing import batches, build, weigh
from torch import Tensor

from sesemi_like.models.heads.loss.base import Step
from sesemi_like.models.heads.loss.parts import (
    ClassSamplingPolicy,
    ComplementPolicy,
    FixedPolicy,
    LossPolicy,
    Policy,
    Prediction,
    ProductPolicy,
    RelativePolicy,
)
from sesemi_like.models.networks import Networks


class Counts(Policy):
    """Weighs a half, and counts what it is told."""

    needs = ("index",)

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []

    def update(self, prediction: Prediction) -> None:
        self.told.append("update")

    def forward(self, prediction: Prediction) -> Tensor:
        return torch.full_like(prediction.confidence, 0.5)

    def follow(self, prediction: Prediction, weights: Tensor) -> None:
        self.told.append(weights.tolist())

    def after_step(self, step: Step) -> None:
        self.told.append("step")


def test_a_complement_takes_what_is_left() -> None:
    (batch,) = batches(50)
    weights = weigh(build(FixedPolicy(0.7)), batch)
    assert 0 < weights.sum() < 50
    assert torch.equal(weigh(build(ComplementPolicy(0.7)), batch), 1 - weights)
    assert torch.equal(weigh(build(ComplementPolicy(FixedPolicy(0.7))), batch), 1 - weights)


def test_a_product_keeps_what_all_keep() -> None:
    (batch,) = batches(200)
    parts = [FixedPolicy(0.6), ClassSamplingPolicy(), RelativePolicy(0.8)]
    expected = torch.stack([weigh(build(part), batch) for part in parts]).prod(dim=0)
    product = build(ProductPolicy([0.6, ClassSamplingPolicy(), RelativePolicy(0.8)]))
    assert product.needs == ("uniform", "labelled", "target")
    assert 0 < expected.sum() < 200
    assert torch.equal(weigh(product, batch), expected)


def test_the_inner_ones_are_told_everything_with_their_own_weights() -> None:
    inner, (batch,) = [Counts(), Counts()], batches(2)
    both = build(ProductPolicy([ComplementPolicy(inner[0]), inner[1], 0.5]))
    assert both.needs == ("index",)
    weigh(both, batch)
    both.after_step(Step(0, None, Networks({}), {}))
    assert [policy.told for policy in inner] == [["update", [0.5, 0.5], "step"]] * 2


def test_targets_and_metrics_are_those_of_the_inner_ones() -> None:
    inner = LossPolicy(2, 2)
    assert ComplementPolicy(inner).targets is inner.targets
    product = build(ProductPolicy([RelativePolicy(0.9), inner, RelativePolicy(0.8)]))
    assert product.targets is inner.targets
    assert list(product.metrics()) == ["threshold", "rho", "threshold_3"]


def test_their_state_round_trips() -> None:
    first, second = (
        build(ProductPolicy([ComplementPolicy(RelativePolicy(0.9)), 0.4])) for _ in range(2)
    )
    batch, other = batches(9, 9)
    weigh(first, batch)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(other), second(other))
    assert "policies.0.policy.labelled_confidence" in first.state_dict()


def test_no_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="policies: found none"):
        ProductPolicy([])
