"""Debiased logits against DebiasPL's equations in NumPy, over several steps."""

import numpy as np
import pytest
import torch
from parts_playing import CLASSES, align, batches, build
from references import alignments as reference
from references.losses import softmax

from sesemi_like.models.heads.loss.parts import DebiasedLogits, Prediction

ROWS = (6, 1, 9, 0, 4)


def test_the_average_is_taken_from_the_teacher_and_given_to_the_learner() -> None:
    alignment = build(DebiasedLogits(tau=0.4, momentum=0.7))
    made = batches(*ROWS)
    unlabeled = [softmax(b.logits).reshape(-1, CLASSES) for b in made]
    averages = reference.running_averages(unlabeled, 0.7, [1 / CLASSES] * CLASSES)
    learner = torch.randn(3, CLASSES)
    for batch, average in zip(made, averages, strict=True):
        bias = 0.4 * np.log(average)
        expected = batch.logits.numpy() - bias
        np.testing.assert_allclose(align(alignment, batch), expected, rtol=1e-5)
        expected = learner.numpy() + bias
        np.testing.assert_allclose(alignment.of_learner(learner), expected, rtol=1e-5)


def test_gradients_reach_the_learner_alone() -> None:
    alignment = build(DebiasedLogits())
    learner = torch.randn(3, CLASSES, requires_grad=True)
    alignment.of_learner(learner).sum().backward()
    assert learner.grad is not None and learner.grad.tolist() == [[1] * CLASSES] * 3
    assert not any(value.requires_grad for value in alignment.buffers())


def test_a_class_that_is_never_predicted_leaves_logits_finite() -> None:
    alignment = build(DebiasedLogits(momentum=0.0))
    found = align(alignment, Prediction(torch.tensor([[200.0, 0, 0, -200.0]])))
    assert found.isfinite().all()
    assert alignment.of_learner(torch.zeros(1, CLASSES)).isfinite().all()


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="tau: found -1"):
        DebiasedLogits(tau=-1)
    with pytest.raises(ValueError, match=r"momentum: found 1.5"):
        DebiasedLogits(momentum=1.5)
