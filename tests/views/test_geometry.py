"""Shifted crops, flips and affine maps against slices of arrays and torchvision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import affine as torchvision_affine

from sesemi_like.views import HorizontalFlip, RandomAffine, RandomCrop
from sesemi_like.views.warping import affine_matrices, warp


def numbered(count: int, height: int, width: int) -> torch.Tensor:
    """Images whose pixels are all different."""
    return torch.arange(count * height * width).reshape(count, 1, height, width).float() / 1000


@pytest.mark.parametrize("mode", ["reflect", "constant"])
def test_random_crop_gives_every_window_of_the_padded_image(mode: Any) -> None:
    image = numbered(1, 4, 5) + 1
    results = RandomCrop(2, mode)(image.repeat(400, 1, 1, 1), torch.Generator().manual_seed(0))
    padded = np.pad(image[0, 0].numpy(), 2, mode=mode)
    expected = {padded[y : y + 4, x : x + 5].tobytes() for y in range(5) for x in range(5)}
    assert {result[0].numpy().tobytes() for result in results} == expected


def test_random_crop_to_a_size_needs_no_padding() -> None:
    images = torch.rand(4, 3, 8, 10)
    assert RandomCrop(0, size=[6, 7])(images).shape == (4, 3, 6, 7)


def test_random_crop_says_what_does_not_fit() -> None:
    images = torch.rand(2, 3, 4, 6)
    with pytest.raises(ValueError, match=r"padding: found 4; expected less than .* side of 4"):
        RandomCrop(4)(images)
    with pytest.raises(ValueError, match=r"size: found \[7, 7\]; expected at most .*\[6, 8\]"):
        RandomCrop(1, size=7)(images)
    with pytest.raises(ValueError, match="mode: found 'mirror'; expected reflect or constant"):
        RandomCrop(1, mode="mirror")


def test_crops_and_flips_of_an_empty_batch_are_empty() -> None:
    images = torch.zeros(0, 3, 8, 8, dtype=torch.uint8)
    assert RandomCrop(2, size=6)(images).shape == (0, 3, 6, 6)
    assert HorizontalFlip()(images).shape == (0, 3, 8, 8)


@pytest.mark.parametrize(("p", "share"), [(0.0, 0.0), (0.3, 0.3), (1.0, 1.0)])
def test_horizontal_flip_mirrors_a_share_of_the_images(p: float, share: float) -> None:
    images = numbered(1, 2, 3).repeat(2000, 1, 1, 1)
    flipped = HorizontalFlip(p)(images, torch.Generator().manual_seed(0))
    mirrored = (flipped == images.flip(-1)).flatten(1).all(1)
    assert torch.equal(flipped[~mirrored], images[~mirrored])
    assert abs(mirrored.float().mean().item() - share) < 0.05


def test_affine_agrees_with_torchvision() -> None:
    images = torch.rand(3, 2, 12, 15)
    degrees, scales = torch.tensor([25.0, -70.0, 0.0]), torch.tensor([0.8, 1.3, 1.0])
    shears, shifts = torch.tensor([10.0, -20.0, 0.0]), torch.tensor([[2, -1], [0, 3], [-4, 0]])
    matrices = affine_matrices(images, degrees, (shifts[:, 0], shifts[:, 1]), scales, shears)
    result = warp(images, matrices, interpolation="bilinear")
    for i in range(3):
        expected = torchvision_affine(
            images[i],
            degrees[i].item(),
            shifts[i].tolist(),
            scales[i].item(),
            [shears[i].item(), 0.0],
            InterpolationMode.BILINEAR,
        )
        torch.testing.assert_close(result[i], expected, atol=2e-4, rtol=0)


def test_random_affine_without_ranges_changes_nothing() -> None:
    images = torch.rand(4, 1, 8, 9)
    torch.testing.assert_close(RandomAffine()(images), images, atol=1e-5, rtol=0)


def test_random_affine_shifts_stay_within_the_share() -> None:
    images = torch.zeros(300, 1, 1, 41)
    images[..., 20] = 1
    moved = RandomAffine(translate=0.25)(images, torch.Generator().manual_seed(0))
    positions = (moved[:, 0, 0] * torch.arange(41)).sum(1) / moved[:, 0, 0].sum(1)
    offsets = (positions - 20) / 41
    assert -0.25 <= offsets.min() < -0.2
    assert 0.2 < offsets.max() <= 0.25


def test_random_affine_leaves_some_images_alone() -> None:
    images = torch.rand(1, 1, 6, 6).repeat(500, 1, 1, 1)
    view = RandomAffine(degrees=40, p=0.4)
    same = (view(images, torch.Generator().manual_seed(0)) == images).flatten(1).all(1)
    assert abs(same.float().mean().item() - 0.6) < 0.08


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"degrees": -5}, r"degrees: found -5; expected a number in \[0, 360\]"),
        ({"translate": 4}, r"translate: found 4; expected a number in \[0, 1\]"),
        ({"scale": [1.2, 0.8]}, r"scale: found \[1.2, 0.8\]; expected a pair"),
        ({"padding_mode": "zero"}, "padding_mode: found 'zero'; expected zeros, border"),
        ({"p": "often"}, r"p: found 'often'; expected a number in \[0, 1\]"),
    ],
)
def test_random_affine_names_what_is_wrong(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RandomAffine(**arguments)
