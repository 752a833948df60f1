"""RandAugment: how operations are drawn and grouped, and what FixMatch's pool holds."""

from __future__ import annotations

import pytest
import torch

from sesemi_like.views import RandAugment
from sesemi_like.views import rand_augment as module
from sesemi_like.views.rand_augment import Operation, fixmatch_pool
from sesemi_like.views.warping import warp


def added(amount: float) -> Operation:
    return Operation(lambda images, magnitudes: images + amount)


def test_pool_has_fixmatchs_operations_and_ranges() -> None:
    ranges = {name: (op.low, op.high) for name, op in fixmatch_pool().items()}
    blends = dict.fromkeys(("brightness", "color", "contrast", "sharpness"), (0.05, 0.95))
    moves = dict.fromkeys(("shear_x", "shear_y", "translate_x", "translate_y"), (-0.3, 0.3))
    free = dict.fromkeys(("autocontrast", "equalize", "identity"), (0.0, 1.0))
    others = {"posterize": (4, 8), "rotate": (-30, 30), "solarize": (0.0, 1.0)}
    assert ranges == {**blends, **moves, **free, **others}


def test_every_image_gets_its_own_operation_in_its_own_place() -> None:
    view = RandAugment(num_ops=1, cutout_size=0)
    view.pool = [added(10), added(20), added(30)]
    images = torch.arange(600).reshape(600, 1, 1, 1) / 1000
    amounts = (view(images, torch.Generator().manual_seed(0)) - images).flatten()
    rounded = amounts.round(decimals=2)
    assert set(rounded.tolist()) == {10.0, 20.0, 30.0}
    assert all(abs((rounded == v).float().mean().item() - 1 / 3) < 0.07 for v in (10, 20, 30))


def test_warps_of_a_batch_are_those_of_its_images_one_by_one() -> None:
    warps = ["rotate", "shear_x", "shear_y", "translate_x", "translate_y"]
    view = RandAugment(num_ops=1, operations=warps, fill=0.3, cutout_size=0)
    images, generator = torch.rand(40, 3, 9, 11), torch.Generator().manual_seed(0)
    result = view(images, generator.manual_seed(1))
    drawn = view.draw_operations(40, generator.manual_seed(1))
    levels = torch.rand(40, generator=generator)
    for i in range(40):
        operation = view.pool[int(drawn[i])]
        expected = warp(
            images[i : i + 1], operation(images[i : i + 1], levels[i : i + 1]), fill=0.3
        )
        torch.testing.assert_close(result[i : i + 1], expected, atol=1e-6, rtol=0)


def test_operations_follow_one_another() -> None:
    view = RandAugment(num_ops=3, cutout_size=0)
    view.pool = [added(1)]
    assert torch.equal(view(torch.zeros(4, 1, 2, 2)), torch.full((4, 1, 2, 2), 3.0))


def test_magnitudes_are_uniform_per_image() -> None:
    shown = Operation(lambda images, magnitudes: magnitudes[:, None, None, None], -0.3, 0.3)
    view = RandAugment(num_ops=1, cutout_size=0)
    view.pool = [shown]
    drawn = view(torch.zeros(2000, 1, 1, 1), torch.Generator().manual_seed(0)).flatten()
    assert len(drawn.unique()) > 1900
    assert abs(drawn.mean().item()) < 0.02
    assert abs(drawn.std().item() - 0.6 / 12**0.5) < 0.01


def test_an_operation_is_applied_with_its_probability() -> None:
    view = RandAugment(num_ops=1, p=0.3, cutout_size=0)
    view.pool = [added(1)]
    share = view(torch.zeros(2000, 1, 1, 1), torch.Generator().manual_seed(0)).mean().item()
    assert abs(share - 0.3) < 0.04


def test_named_operations_only() -> None:
    images = torch.rand(8, 3, 6, 6)
    view = RandAugment(operations=["identity"], cutout_size=0)
    assert torch.equal(view(images), images)


def test_cutout_comes_last_and_has_the_fill_value() -> None:
    images = torch.rand(50, 3, 8, 8)
    result = RandAugment(operations=["identity"], fill=0.25)(images)
    hidden = (result == 0.25).all(1).flatten(1).sum(1)
    assert hidden.min() >= 4
    assert hidden.max() == 16


def test_every_operation_keeps_batches_of_any_channel_count() -> None:
    for channels in (1, 3, 4):
        images = torch.rand(200, channels, 7, 9)
        result = RandAugment()(images)
        assert result.shape == images.shape
        assert 0 <= result.min() <= result.max() <= 1


def test_an_empty_batch_stays_empty() -> None:
    assert RandAugment()(torch.zeros(0, 3, 8, 8)).shape == (0, 3, 8, 8)


def test_unknown_operations_are_named() -> None:
    with pytest.raises(ValueError, match="operations: found 'rotation'; expected did you mean"):
        RandAugment(operations=["rotation"])
    with pytest.raises(ValueError, match=r"operations: found \[\]; expected at least one"):
        module.operations_named([])
