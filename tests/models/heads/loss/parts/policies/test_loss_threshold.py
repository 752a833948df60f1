"""Dash's falling threshold against algorithm 1 in NumPy, over its warm-up and intervals."""

from typing import Any

import numpy as np
import pytest
import torch
from parts_playing import batches, build, weigh
from references import selection as reference
from references.losses import one_hot

from sesemi_like.models.heads.loss.base import Step
from sesemi_like.models.heads.loss.parts import LossPolicy
from sesemi_like.models.networks import Networks

STEP = Step(0, None, Networks({}), {})
WARMUP, INTERVAL, STEPS = 20, 3, 90


@pytest.mark.parametrize("estimate", ["labelled", "unlabelled", 1.5])
@pytest.mark.parametrize("loss", ["hard", "soft"])
def test_it_is_the_papers_algorithm(loss: Any, estimate: Any) -> None:
    policy = build(LossPolicy(WARMUP, INTERVAL, estimate=estimate, loss=loss, temperature=0.5))
    measured: list[float] = []
    kept, seen_hard = 0.0, False
    for number, batch in enumerate(batches(*[30] * STEPS, scale=3.0)):
        weights = weigh(policy, batch)
        targets = policy.targets(batch.logits)
        soft = reference.sharpened(batch.logits, 0.5)
        if number < WARMUP:
            assert weights.tolist() == [0] * 30
            np.testing.assert_allclose(targets, soft, atol=1e-6)
            if number >= WARMUP - 2:  # a tenth
                measured += (
                    reference.label_losses(batch.labelled, batch.target)
                    if estimate == "labelled"
                    else reference.own_losses(batch.logits, 0.5).tolist()
                )
        else:
            rho_hat = estimate if isinstance(estimate, float) else float(np.mean(measured))
            k = 1 + (number - WARMUP) // INTERVAL
            rho = reference.dash_threshold(rho_hat, k)
            is_hard = rho == 0.05
            own = reference.own_losses(
                batch.logits, 0.5 if loss == "soft" and not is_hard else None
            )
            assert np.abs(own - rho).min() > 1e-6
            np.testing.assert_array_equal(weights, own <= rho)
            assert policy.metrics()["rho"].item() == pytest.approx(rho, rel=1e-5)
            expected = one_hot(batch.logits.argmax(dim=1), 4) if is_hard else soft
            np.testing.assert_allclose(targets, expected, atol=1e-6)
            kept, seen_hard = kept + weights.sum().item(), seen_hard or is_hard
        policy.after_step(STEP)
    assert 0 < kept < 30 * (STEPS - WARMUP)
    assert seen_hard


def test_a_run_that_is_resumed_has_the_same_thresholds() -> None:
    made = batches(*[6] * 30)
    whole, first, second = (build(LossPolicy(4, 2)) for _ in range(3))
    for batch in made[:3]:
        for policy in (whole, first):
            weigh(policy, batch)
            policy.after_step(STEP)
    second.load_state_dict(first.state_dict())
    for batch in made[3:]:
        assert torch.equal(weigh(whole, batch), weigh(second, batch))
        for policy in (whole, second):
            policy.after_step(STEP)
    assert torch.equal(whole.rho, second.rho)
    assert set(whole.state_dict()) == {"num_steps", "total", "count"}


def test_accumulated_batches_are_one_step() -> None:
    policy, made = build(LossPolicy(2, 1)), batches(5, 5, 5, 5)
    for number, batch in enumerate(made):
        assert weigh(policy, batch).tolist() == [0] * 5
        if number % 2:
            policy.after_step(STEP)
    assert policy.count.item() == sum((b.target >= 0).sum().item() for b in made[2:])
    assert not policy.is_warming_up


def test_rows_may_weigh_in_the_warm_up() -> None:
    policy, (batch,) = build(LossPolicy(5, 1, warmup_weight=1.0)), batches(3)
    assert weigh(policy, batch).tolist() == [1, 1, 1]


def test_no_row_at_all_is_measured_as_none() -> None:
    policy = build(LossPolicy(1, 1, estimate="unlabelled"))
    none, some = batches(0, 4)
    assert weigh(policy, none).shape == (0,)
    assert policy.count.item() == 0
    weigh(policy, some)
    assert policy.count.item() == 4


def test_durations_are_shares_of_the_run() -> None:
    policy = LossPolicy("1%", "10%", max_iterations=50)
    assert (policy.warmup_steps, policy.interval_steps) == (1, 5)
    with pytest.raises(ValueError, match="needs max_iterations"):
        assert LossPolicy("1%").warmup_steps


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match=r"gamma: found 0.9; needs a number of 1 or more"):
        LossPolicy(gamma=0.9)
    with pytest.raises(ValueError, match="rho_min: found 0; needs a number above 0"):
        LossPolicy(rho_min=0)
    with pytest.raises(ValueError, match="estimate: found -1; needs a number above 0"):
        LossPolicy(estimate=-1)
    with pytest.raises(ValueError, match="warmup_weight: found -0"):
        LossPolicy(warmup_weight=-0.5)
    with pytest.raises(ValueError, match="estimate: found 'labeled'; did you mean 'labelled'"):
        LossPolicy(estimate="labeled")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="loss: found 'cold'"):
        LossPolicy(loss="cold")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="duration 'soon'"):
        LossPolicy(warmup="soon")
