"""Entropy minimization against NumPy and its two ends."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from references import losses as reference

from sesemi_like.learners.reductions import reduce_losses
from sesemi_like.models.heads.loss import EntropyMinimizationLossHead

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0], [100.0, 0.0, 0.0]])


def test_entropy_of_every_row(play: Callable[..., Any]) -> None:
    outputs = play(EntropyMinimizationLossHead(), {("unlabeled.weak", "classifier"): LOGITS})
    expected = [*reference.entropy(LOGITS[:1].numpy()), math.log(3), 0.0]
    np.testing.assert_allclose(outputs.losses, expected, atol=1e-6)
    assert reduce_losses(outputs, "mean").item() == pytest.approx(sum(expected) / 3)
    largest = reference.softmax(LOGITS.numpy()).max(axis=1)
    assert outputs.metrics["confidence"].item() == pytest.approx(largest.mean())


def test_descent_makes_the_likeliest_class_likelier(play: Callable[..., Any]) -> None:
    logits = LOGITS[:1].clone().requires_grad_()
    head = EntropyMinimizationLossHead(input_data="rest", view="image", network="student")
    play(head, {("rest.image", "student"): logits}).losses.sum().backward()
    before, after = logits.softmax(1)[0, 0], (logits - logits.grad).softmax(1)[0, 0]
    assert after > before


def test_a_certain_row_has_a_finite_gradient(play: Callable[..., Any]) -> None:
    logits = torch.tensor([[1e4, 0.0, -1e4]], requires_grad=True)
    head = EntropyMinimizationLossHead()
    play(head, {("unlabeled.weak", "classifier"): logits}).losses.sum().backward()
    assert logits.grad.isfinite().all()


def test_it_says_what_batch_norm_does() -> None:
    head = EntropyMinimizationLossHead(norm="batch")
    assert head.forwards({})["image"].norm == "batch"
