"""Dash's config against its algorithm in NumPy over several steps of its state, and a restart."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from composing import composed
from parts_playing import FACTS, Answers
from references import selection as reference
from references.losses import cross_entropy, one_hot

from sesemi_like.config.instantiate import instantiate
from sesemi_like.config.resolvers import AppAttributes, app_attributes
from sesemi_like.learners.reductions import reduce_losses
from sesemi_like.models.heads.loss import PseudoLabelLossHead, Step
from sesemi_like.models.networks import Networks

KEY = "learner.hparams.model.regularization_loss_heads.dash"
WEAK, STRONG = ("unlabeled.weak", "classifier"), ("unlabeled.strong", "classifier")
LABELED, TARGET = ("supervised.image", "classifier"), "supervised.target"
NETWORKS = Networks({"classifier": Answers()})
RUN = AppAttributes(iterations_per_epoch=5, max_iterations=300, num_gpus=0, num_nodes=1)
WARMUP, INTERVAL = 3, 3  # 1% and 0.9% of 300


@pytest.fixture(autouse=True)
def a_run() -> Iterator[None]:
    with app_attributes(RUN):
        yield


@cache
def term_of(*overrides: str) -> Any:
    config = composed("quickstart", "method=dash", *overrides)
    return config.learner.hparams.model.regularization_loss_heads.dash


def dash(*overrides: str) -> tuple[PseudoLabelLossHead, str]:
    term = term_of(*overrides)
    head: PseudoLabelLossHead = instantiate(term.head, key=f"{KEY}.head")
    head.build(NETWORKS, FACTS)
    return head, term.reduction


def step_of(number: int) -> dict[Any, torch.Tensor]:
    generator = torch.Generator().manual_seed(number)
    weak, strong = torch.randn(2, 12, 4, generator=generator)
    labeled = 2 * torch.randn(4, 4, generator=generator)
    target = torch.tensor([0, 1, 2, -1])
    return {WEAK: 4 * weak, STRONG: strong, LABELED: labeled, TARGET: target}


def test_it_is_the_papers_algorithm(play: Callable[..., Any]) -> None:
    head, reduction = dash()
    seen = set()
    rho_hat = 0.0
    for number in range(70):
        given = step_of(number)
        found = reduce_losses(play(head, given), reduction).item()
        if number == WARMUP - 1:  # one step is the last tenth of three
            rho_hat = float(np.mean(reference.label_losses(given[LABELED], given[TARGET])))
        if number < WARMUP:
            assert found == 0
        else:
            rho = reference.dash_threshold(rho_hat, 1 + (number - WARMUP) // INTERVAL)
            kept = reference.own_losses(given[WEAK], None) <= rho
            is_hard = rho == 0.05
            soft = reference.sharpened(given[WEAK], 0.5)
            targets = one_hot(given[WEAK].argmax(dim=1), 4) if is_hard else soft
            losses = cross_entropy(targets, given[STRONG])[kept]
            assert found == pytest.approx(losses.mean() if len(losses) else 0, rel=1e-4)
            seen.add((bool(is_hard), 0 < len(losses) < 12))
        head.after_step(Step(number, 300, NETWORKS, {}))
    assert {(False, True), (True, True)} <= seen


def test_gradients_reach_the_strong_rows_that_count(play: Callable[..., Any]) -> None:
    head, reduction = dash(f"{KEY}.head.policy.estimate=0.5")
    for number in range(WARMUP):
        head.after_step(Step(number, 300, NETWORKS, {}))
    given = {WEAK: step_of(0)[WEAK].requires_grad_(), STRONG: step_of(0)[STRONG].requires_grad_()}
    outputs = play(head, given)
    reduce_losses(outputs, reduction).backward()
    assert given[WEAK].grad is None
    assert given[STRONG].grad is not None
    rows = (given[STRONG].grad.abs().sum(dim=1) > 0).tolist()
    assert rows == (outputs.weights > 0).tolist()
    assert 0 < sum(rows) < 12


def test_a_restart_changes_nothing(play: Callable[..., Any]) -> None:
    (whole, reduction), (first, _), (second, _) = dash(), dash(), dash()
    for number in range(20):
        if number == 7:
            second.load_state_dict(first.state_dict())
        other = first if number < 7 else second
        losses = [reduce_losses(play(head, step_of(number)), reduction) for head in (whole, other)]
        assert torch.equal(*losses)
        for head in (whole, other):
            head.after_step(Step(number, 300, NETWORKS, {}))


def test_evaluation_moves_no_state(play: Callable[..., Any]) -> None:
    head, _ = dash()
    before = {name: value.clone() for name, value in head.state_dict().items()}
    head.eval()
    play(head, step_of(0))
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())
