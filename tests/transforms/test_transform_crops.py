"""Whole transforms: their results' form, and their pixels against Pillow and NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from PIL import Image
from torch.utils.data import default_collate

from sesemi_like.transforms import (
    center_crop_transforms,
    multi_crop_transforms,
    rand_augment,
    train_transforms,
)

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def random_image(width: int = 40, height: int = 30, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def normalized(image: Image.Image) -> torch.Tensor:
    pixels = (np.asarray(image) / 255 - np.array(MEAN)) / np.array(STD)
    return torch.from_numpy(pixels.transpose(2, 0, 1)).float()


def test_center_crop_is_pillows() -> None:
    result = center_crop_transforms(resize=20, crop_dim=16)(random_image())
    # 40 x 30 becomes 26 x 20; the middle 16 x 16 begins at (5, 2).
    resized = random_image().resize((26, 20), Image.Resampling.BILINEAR)
    expected = normalized(resized.crop((5, 2, 21, 18)))
    torch.testing.assert_close(result, expected)
    assert type(result) is torch.Tensor


def test_full_square_train_crop_is_the_resized_image() -> None:
    transform = train_transforms(crop_dim=8, scale=(1, 1), ratio=(1, 1), flip=0)
    expected = normalized(random_image(32, 32).resize((8, 8), Image.Resampling.BILINEAR))
    torch.testing.assert_close(transform(random_image(32, 32)), expected)


def test_flip_mirrors() -> None:
    settings: dict[str, Any] = {"crop_dim": 8, "scale": (1, 1), "ratio": (1, 1)}
    image = random_image(32, 32)
    flipped = train_transforms(**settings, flip=1)(image)
    torch.testing.assert_close(flipped, train_transforms(**settings, flip=0)(image).flip(-1))


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"resize": 24, "interpolation": "bicubic"},
        {"color_jitter": 0.4, "erasing": 1.0},
        {"augmentations": [rand_augment()]},
    ],
)
def test_train_transforms_give_random_normalized_tensors(more: dict[str, Any]) -> None:
    transform = train_transforms(crop_dim=12, **more)
    results = [transform(random_image()) for _ in range(2)]
    for result in results:
        assert type(result) is torch.Tensor
        assert (result.shape, result.dtype) == ((3, 12, 12), torch.float32)
    assert not torch.equal(*results)


def test_the_global_generator_decides() -> None:
    transform = train_transforms(crop_dim=12, color_jitter=0.4, augmentations=[rand_augment()])
    results = []
    for _ in range(2):
        torch.manual_seed(0)
        results.append(transform(random_image()))
    assert torch.equal(*results)


def test_erasing_sets_a_rectangle_to_the_mean_color() -> None:
    transform = train_transforms(crop_dim=20, erasing=1.0)
    result = transform(Image.new("RGB", (30, 30), "white"))
    assert 0 < (result == 0).all(0).float().mean() < 0.5


def test_single_channel_images() -> None:
    transform = center_crop_transforms(resize=16, crop_dim=16, mean=0.5, std=0.25)
    assert transform(random_image(mode="L")).shape == (1, 16, 16)


def test_multi_crop_gives_a_list_that_collates() -> None:
    transform = multi_crop_transforms(2, 3, global_size=16, local_size=8)
    shapes = [tuple(crop.shape) for crop in transform(random_image())]
    assert shapes == [(3, 16, 16)] * 2 + [(3, 8, 8)] * 3
    batch = default_collate([transform(random_image()) for _ in range(4)])
    assert [tuple(crops.shape) for crops in batch] == [(4, 3, 16, 16)] * 2 + [(4, 3, 8, 8)] * 3


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (train_transforms, {"crop_dim": 0}, "crop_dim: found 0; expected an integer"),
        (train_transforms, {"scale": (0.2, 2)}, r"scale: found \(0.2, 2\); expected a pair"),
        (train_transforms, {"flip": 2}, r"flip: found 2; expected a number in \[0, 1\]"),
        (train_transforms, {"std": [1, 0, 1]}, r"std: found \[1, 0, 1\]; expected numbers above"),
        (train_transforms, {"mean": [0.5, 0.5]}, "mean, std: found .*; expected lists of the same"),
        (
            train_transforms,
            {"interpolation": "bilinar"},
            "interpolation: found 'bilinar'; expected did you mean 'bilinear'",
        ),
        (center_crop_transforms, {"resize": 100}, "resize: found 100; expected at least crop_dim"),
        (multi_crop_transforms, {"num_local": -1}, "num_local: found -1; expected an integer"),
        (multi_crop_transforms, {"local_scale": 0.3}, "local_scale: found 0.3; expected a pair"),
    ],
)
def test_errors_name_the_argument(make: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_transforms_are_built_from_a_config() -> None:
    config = {
        "_target_": "sesemi_like.transforms.train_transforms",
        "crop_dim": 10,
        "scale": [0.5, 1.0],
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "augmentations": [{"_target_": "sesemi_like.transforms.GaussianBlur", "sigma": [0.1, 1]}],
    }
    assert instantiate(config)(random_image()).shape == (3, 10, 10)


@pytest.mark.parametrize("family", ["torchvision.transforms", "torchvision.transforms.v2"])
def test_torchvisions_transforms_fit_in(family: str) -> None:
    config = {
        "_target_": "sesemi_like.transforms.train_transforms",
        "crop_dim": 10,
        "augmentations": [{"_target_": f"{family}.RandomPosterize", "bits": 3}],
    }
    assert instantiate(config)(random_image()).shape == (3, 10, 10)
