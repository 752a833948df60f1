"""Per-image gamma, blur and RandAugment."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from sesemi_like.transforms import GammaCorrection, GaussianBlur, PerImage, rand_augment
from sesemi_like.views import Rotation
from sesemi_like.views.blur import gaussian_blur

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)
EXPECTED = torch.from_numpy(PIXELS.transpose(2, 0, 1).copy()).float() / 255


@pytest.mark.parametrize(
    "image", [Image.fromarray(PIXELS), PIXELS, torch.from_numpy(PIXELS.transpose(2, 0, 1).copy())]
)
def test_gamma_is_a_power_of_any_kind_of_image(image: object) -> None:
    result = GammaCorrection(gamma=(2, 2))(image)
    torch.testing.assert_close(result, EXPECTED**2)
    assert type(result) is torch.Tensor


def test_blur_has_a_random_width() -> None:
    fixed = GaussianBlur(sigma=(1, 1))(Image.fromarray(PIXELS))
    expected = gaussian_blur(EXPECTED[None], torch.ones(1), radius=3)[0]
    torch.testing.assert_close(fixed, expected)
    transform = GaussianBlur()
    assert not torch.equal(*(transform(Image.fromarray(PIXELS)) for _ in range(2)))


def test_rand_augment_follows_the_global_generator() -> None:
    transform, results = rand_augment(), []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        results.append(transform(Image.fromarray(PIXELS)))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_transforms_travel_to_workers() -> None:
    transform = pickle.loads(pickle.dumps(rand_augment()))
    assert transform(Image.fromarray(PIXELS)).shape == (3, 9, 11)


def test_views_of_several_tensors_are_refused() -> None:
    with pytest.raises(ValueError, match="fields"):
        PerImage(Rotation())(PIXELS[:9, :9])
