"""What the ready-made weak and strong views consist of."""

from __future__ import annotations

import pytest
import torch

from sesemi_like import views
from sesemi_like.views.base import single_tensor


def test_weak_without_anything_only_scales() -> None:
    images = torch.randint(0, 256, (2, 3, 6, 6), dtype=torch.uint8)
    result = single_tensor(views.weak(padding=0, flip=False)(images))
    assert torch.equal(result, images / 255)


def test_weak_resizes_crops_and_normalizes() -> None:
    view = views.weak(size=10, mean=[0.5] * 3, std=[0.25] * 3)
    result = single_tensor(view(torch.ones(2, 3, 20, 30)))
    assert result.shape == (2, 3, 10, 10)
    torch.testing.assert_close(result, torch.full((2, 3, 10, 10), 2.0))


def test_strong_is_cut_out_before_it_is_normalized() -> None:
    images = torch.ones(30, 3, 16, 16)
    result = single_tensor(views.strong(num_ops=0, mean=0.5, std=0.25)(images))
    assert result.unique().tolist() == [0.0, 2.0]
    assert result.flatten(1).amin(1).tolist() == [0.0] * 30, "each image has a cut"


def test_steps_come_in_the_published_order() -> None:
    names = [type(step).__name__ for step in views.strong(mean=0.5, std=0.5).steps]
    assert names == ["RandomCrop", "HorizontalFlip", "RandAugment", "Normalize"]


def test_mean_needs_standard_deviation() -> None:
    with pytest.raises(ValueError, match=r"mean, std: found .*; expected both or neither"):
        views.weak(mean=0.5)
