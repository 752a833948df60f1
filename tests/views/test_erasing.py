"""What erasing and cutout hide, counted in pixels."""

from __future__ import annotations

import pytest
import torch

from sesemi_like.views import Cutout, Erasing


def test_cutout_hides_a_square_around_any_pixel() -> None:
    images = torch.zeros(2000, 3, 8, 8)
    result = Cutout(0.5, value=1.0)(images, torch.Generator().manual_seed(0))
    assert torch.equal(result.amin(1), result.amax(1)), "the same in all channels"
    rows, columns = result[:, 0].amax(2).sum(1), result[:, 0].amax(1).sum(1)
    assert torch.equal(rows * columns, result[:, 0].sum((1, 2))), "a rectangle"
    assert set(rows.tolist()) == {2.0, 3.0, 4.0}, "cut off at the edges, never empty"
    # A corner pixel is hidden by centers 0 ... 2 of both axes, a middle one by 4.
    hidden = result[:, 0].mean(0)
    assert abs(hidden[0, 0].item() - (3 / 8) ** 2) < 0.03
    assert abs(hidden[4, 4].item() - (4 / 8) ** 2) < 0.03


def test_cutout_of_size_zero_hides_nothing() -> None:
    images = torch.rand(3, 1, 5, 5)
    assert torch.equal(Cutout(0)(images), images)


def test_erasing_fills_a_rectangle_of_some_images() -> None:
    images = torch.zeros(1000, 2, 30, 30)
    view = Erasing(p=0.25, scale=(0.1, 0.2), ratio=(0.5, 2), value=1.0)
    shares = view(images, torch.Generator().manual_seed(0))[:, 0].mean((1, 2))
    erased = shares > 0
    assert abs(erased.float().mean().item() - 0.25) < 0.05
    assert shares[erased].min() > 0.08
    assert shares[erased].max() < 0.22


def test_errors_name_the_argument() -> None:
    with pytest.raises(ValueError, match=r"size: found 16; expected a number in \[0, 1\]"):
        Cutout(16)
    with pytest.raises(ValueError, match=r"scale: found \(0.5, 2\); expected a pair"):
        Erasing(scale=(0.5, 2))
