"""The heads' metrics by hand."""

import pytest
import torch

from sesemi_like.models.heads.loss.parts import confidence, top1

LOGITS = torch.tensor([[0.6, 0.4], [0.3, 0.7], [0.2, 0.8]]).log()


def test_top1_is_the_share_of_hits() -> None:
    assert top1(LOGITS, torch.tensor([0, 0, 1]))["top1"].item() == pytest.approx(2 / 3)


def test_no_rows_have_no_accuracy() -> None:
    assert top1(LOGITS[:0], torch.tensor([], dtype=torch.long))["top1"].isnan()


def test_confidence_is_the_mean_of_the_largest_probability() -> None:
    value = confidence(LOGITS.requires_grad_())["confidence"]
    assert value.item() == pytest.approx((0.6 + 0.7 + 0.8) / 3)
    assert not value.requires_grad
