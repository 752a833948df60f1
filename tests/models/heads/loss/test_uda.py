"""UDA's config against its equation in NumPy; its switches; who gets gradients."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from composing import composed
from references import losses as reference
from references.selection import sharpened, uda

from sesemi_like.config.instantiate import instantiate
from sesemi_like.learners.reductions import reduce_losses
from sesemi_like.models.heads.loss import PseudoLabelLossHead

KEY = "learner.hparams.model.regularization_loss_heads.uda"
WEAK, STRONG = ("unlabeled.weak", "classifier"), ("unlabeled.strong", "classifier")


@cache
def term_of(*overrides: str) -> Any:
    config = composed("quickstart", "method=uda", *overrides)
    return config.learner.hparams.model.regularization_loss_heads.uda


def head_of(*overrides: str) -> tuple[PseudoLabelLossHead, str]:
    term = term_of(*overrides)
    head: PseudoLabelLossHead = instantiate(term.head, key=f"{KEY}.head")
    return head, term.reduction


def views(rows: int, seed: int = 0) -> dict[Any, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weak, strong = torch.randn(2, rows, 5, generator=generator)
    return {WEAK: 3 * weak, STRONG: strong}


@pytest.mark.parametrize("rows", [40, 1, 0])
def test_it_is_the_papers_equation(play: Callable[..., Any], rows: int) -> None:
    head, reduction = head_of()
    given = views(rows)
    expected = uda(given[WEAK], given[STRONG], 0.8, 0.4) if rows else np.zeros(1)
    found = reduce_losses(play(head, given), reduction) if rows else torch.zeros(())
    assert found.item() == pytest.approx(expected.mean(), rel=1e-5)
    assert rows < 2 or 0 < (expected > 0).sum() < rows


def test_the_threshold_judges_what_is_not_sharpened(play: Callable[..., Any]) -> None:
    head, _ = head_of()
    weak = torch.tensor([[0.85, 0.15], [0.75, 0.25]]).log()  # the second one is 0.94 sharpened
    outputs = play(head, {WEAK: weak, STRONG: torch.zeros(2, 2)})
    assert outputs.weights.tolist() == [1, 0]
    assert sharpened(weak, 0.4)[1].max() > 0.9


def test_the_peers_rule_is_two_settings(play: Callable[..., Any]) -> None:
    settings = [f"{KEY}.head.targets.temperature=1.0", f"{KEY}.head.loss=cross_entropy"]
    head, reduction = head_of(*settings)
    given = views(40)
    p = reference.softmax(given[WEAK])
    losses = reference.cross_entropy(p, given[STRONG]) * (p.max(axis=1) >= 0.8)
    found = reduce_losses(play(head, given), reduction)
    assert found.item() == pytest.approx(losses.mean(), rel=1e-5)


def test_only_confident_strong_rows_get_gradients(play: Callable[..., Any]) -> None:
    head, reduction = head_of()
    given = {name: rows.requires_grad_() for name, rows in views(40).items()}
    outputs = play(head, given)
    reduce_losses(outputs, reduction).backward()
    assert given[WEAK].grad is None
    assert given[STRONG].grad is not None
    has_gradient = given[STRONG].grad.abs().sum(dim=1) > 0
    assert has_gradient.tolist() == (outputs.weights > 0).tolist()
