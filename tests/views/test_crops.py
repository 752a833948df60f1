"""Resizing and cropping against torchvision; the drawn rectangles by their properties."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torchvision.transforms.functional import resize, resized_crop

from sesemi_like.views import CenterCrop, MultiCrop, Normalize, RandomResizedCrop, Resize
from sesemi_like.views.boxes import Boxes, random_boxes
from sesemi_like.views.crops import resized_crops


@pytest.mark.parametrize("size", [8, [9, 30]])
def test_resize_agrees_with_torchvision(size: int | list[int]) -> None:
    images = torch.rand(2, 3, 16, 21)
    expected = resize(images, size, antialias=True)
    torch.testing.assert_close(Resize(size)(images), expected)


def test_center_crop_is_the_middle() -> None:
    images = torch.rand(2, 3, 8, 9)
    assert torch.equal(CenterCrop([4, 5])(images), images[:, :, 2:6, 2:7])


def test_center_crop_says_when_it_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"size: found \[9, 9\]; expected at most"):
        CenterCrop(9)(torch.rand(1, 3, 8, 10))


def test_resized_crops_agree_with_torchvision() -> None:
    images = torch.rand(3, 2, 14, 18)
    corners = [(0, 0, 14, 18), (3, 5, 6, 4), (7, 2, 7, 16)]
    boxes = Boxes(*torch.tensor(corners).float().T)
    result = resized_crops(images, boxes, 8, 9)
    for image, box, cropped in zip(images, corners, result, strict=True):
        expected = resized_crop(image, *box, [8, 9], antialias=False)
        torch.testing.assert_close(cropped, expected, atol=1e-5, rtol=0)


def test_random_boxes_have_the_area_and_ratio_asked_for() -> None:
    images = torch.zeros(2000, 1, 200, 300)
    generator = torch.Generator().manual_seed(0)
    top, left, height, width = random_boxes(images, (0.1, 0.5), (0.5, 2.0), generator)
    assert torch.all((top >= 0) & (left >= 0) & (top + height <= 200) & (left + width <= 300))
    shares, ratios = height * width / (200 * 300), width / height
    assert 0.095 < shares.min() < 0.12
    assert 0.48 < shares.max() < 0.505
    assert 0.48 < ratios.min() < 0.55
    assert 1.8 < ratios.max() < 2.05
    assert top.min() == 0
    assert (top + height).max() == 200


def test_a_box_that_never_fits_is_cut_off() -> None:
    images = torch.zeros(5, 1, 4, 400)
    top, _, height, width = random_boxes(images, (1.0, 1.0), (1.0, 1.0), None)
    assert torch.equal(height, torch.full((5,), 4.0))
    assert torch.equal(width, torch.full((5,), 40.0))
    assert torch.equal(top, torch.zeros(5))


def test_full_crop_of_the_same_size_changes_nothing() -> None:
    images = torch.rand(2, 3, 12, 12)
    view = RandomResizedCrop(12, scale=(1, 1), ratio=(1, 1))
    torch.testing.assert_close(view(images), images, atol=1e-5, rtol=0)


def test_multi_crop_names_its_crops() -> None:
    view = MultiCrop(2, 3, global_size=12, local_size=6, steps=[Normalize(0.5, 0.25)])
    images = torch.rand(4, 3, 16, 20)
    crops = view(images, torch.Generator().manual_seed(0))
    assert {name: tuple(crop.shape) for name, crop in crops.items()} == {
        "global_0": (4, 3, 12, 12),
        "global_1": (4, 3, 12, 12),
        "local_0": (4, 3, 6, 6),
        "local_1": (4, 3, 6, 6),
        "local_2": (4, 3, 6, 6),
    }
    assert not torch.equal(crops["global_0"], crops["global_1"])
    assert crops["local_0"].min() < 0, "the normalization was applied"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_global": 0, "num_local": 0}, r"num_global, num_local: found \[0, 0\]"),
        ({"global_scale": (0.4, 1.5)}, "global_scale: found"),
        ({"local_size": 0}, "local_size: found 0; expected an integer of pixels"),
    ],
)
def test_multi_crop_names_what_is_wrong(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MultiCrop(**arguments)
