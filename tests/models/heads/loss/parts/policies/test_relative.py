"""AdaMatch's relative threshold against NumPy, over several steps."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from parts_playing import batches, build, weigh
from references.losses import softmax
from references.selection import adamatch_threshold

from sesemi_like.models.heads.loss.parts import RelativePolicy


def test_rows_reach_a_share_of_the_labeled_confidence() -> None:
    policy = build(RelativePolicy(0.9))
    for batch in batches(40, 1, 30, labelled=[5, 1, 8]):
        assert batch.labelled is not None and batch.target is not None
        threshold = adamatch_threshold(batch.labelled, batch.target, 0.9)
        expected = [float(max(p) >= threshold) for p in softmax(batch.logits)]
        assert len(expected) == 1 or 0 < sum(expected) < len(expected)
        assert weigh(policy, batch).tolist() == expected
        assert policy.metrics()["threshold"].item() == pytest.approx(threshold, rel=1e-6)


def test_aligned_rows_are_judged() -> None:
    policy, (batch,) = build(RelativePolicy(0.9)), batches(6)
    sure = torch.eye(4)[[0, 1, 2, 3, 0, 1]] * 50
    assert weigh(policy, batch, aligned=sure).tolist() == [1] * 6


@pytest.mark.parametrize("rows", [0, 2])
def test_without_labels_the_last_threshold_stays(rows: int) -> None:
    policy = build(RelativePolicy(0.5))
    first, second = batches(3, 3, labelled=[4, rows])
    weigh(policy, first)
    before = policy.metrics()["threshold"].clone()
    weigh(policy, replace(second, target=torch.full((rows,), -1)))
    assert torch.equal(policy.metrics()["threshold"], before)


def test_other_rows_are_judged_without_a_change_of_state() -> None:
    policy = build(RelativePolicy(0.9))
    batch, other = batches(6, 9)
    weigh(policy, batch)
    before = policy.labelled_confidence.clone()
    confidence = softmax(other.logits).max(axis=1)
    np.testing.assert_array_equal(policy(other), confidence >= 0.9 * before.item())
    assert torch.equal(policy.labelled_confidence, before)


def test_no_row_at_all() -> None:
    (batch,) = batches(0)
    assert weigh(build(RelativePolicy()), batch).shape == (0,)


def test_a_threshold_outside_zero_to_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"threshold: found 2; .*\[0, 1\]"):
        RelativePolicy(2)
