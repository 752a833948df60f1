"""The alignment by the last batches against ReMixMatch's and CoMatch's rules in NumPy."""

from typing import Any

import numpy as np
import pytest
import torch
from parts_playing import CLASSES, align, batches, build
from references import alignments as reference
from references.losses import softmax

from sesemi_like.models.heads.loss.parts import QueueAlignment

ROWS = (6, 1, 9, 0, 4, 2, 7)
COUNTS = [0.5, 0.25, 0.125, 0.125]


@pytest.mark.parametrize("initial", ["uniform", "empty"])
@pytest.mark.parametrize("length", [1, 3, 20])
@pytest.mark.parametrize("target", ["uniform", "counts"])
def test_it_is_the_mean_of_the_last_batches(target: str, length: int, initial: Any) -> None:
    alignment = build(QueueAlignment(target, length=length, initial=initial))
    wanted = COUNTS if target == "counts" else [1 / CLASSES] * CLASSES
    queue = [] if initial == "empty" else [np.full(CLASSES, 1 / CLASSES)] * length
    for batch in batches(*ROWS):
        probabilities = softmax(batch.logits).reshape(-1, CLASSES)
        if len(probabilities):
            queue = [*queue, probabilities.mean(axis=0)][-length:]
        expected = reference.aligned(probabilities, wanted, sum(queue) / len(queue))
        got = align(alignment, batch).softmax(dim=1)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


def test_labeled_predictions_may_be_the_target() -> None:
    alignment = build(QueueAlignment("labelled", momentum=0.5))
    assert alignment.needs == ("labelled", "target")
    (batch,) = batches(4)
    align(alignment, batch)
    assert not np.allclose(alignment.target(), 1 / CLASSES)


def test_before_any_batch_uniform_changes_nothing() -> None:
    (batch,) = batches(3)
    for alignment in (QueueAlignment(initial="uniform"), QueueAlignment(initial="empty")):
        build(alignment)
        np.testing.assert_allclose(alignment(batch), batch.logits, rtol=1e-6)


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="length: found 0"):
        QueueAlignment(length=0)
    with pytest.raises(ValueError, match="initial: found 'batch'; it may be: empty, uniform"):
        QueueAlignment(initial="batch")  # type: ignore[arg-type]


def test_mixed_precision_changes_nothing() -> None:
    exact, mixed = (build(QueueAlignment(length=3, initial="empty")) for _ in range(2))
    for batch in batches(6, 5):
        expected = align(exact, batch)
        with torch.autocast("cpu", torch.bfloat16):
            found = align(mixed, batch)
        torch.testing.assert_close(found, expected)
