"""Each operation against Pillow on 8-bit images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from sesemi_like.views import operations as ops
from sesemi_like.views.rand_augment import Warp, fixmatch_pool
from sesemi_like.views.warping import warp

WIDTH, HEIGHT = 22, 17


def pil_images(channels: int) -> list[Image.Image]:
    """Two images whose channels have different, partly narrow histograms."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (2, HEIGHT, WIDTH, 3))
    smooth = np.linspace(30, 200, WIDTH)[None, None, :, None]
    pixels = (smooth + (noise - 128) * np.array([0.1, 0.3, 0.02])).clip(0, 255).astype(np.uint8)
    images = [Image.fromarray(pixels_of_one) for pixels_of_one in pixels]
    return images if channels == 3 else [image.convert("L") for image in images]


def batch(images: list[Image.Image]) -> torch.Tensor:
    arrays = np.stack([np.atleast_3d(np.asarray(image)) for image in images])
    return torch.from_numpy(arrays).permute(0, 3, 1, 2).float() / 255


def largest_difference(result: torch.Tensor, expected: list[Image.Image]) -> float:
    """The largest difference in 8-bit levels."""
    return float((result - batch(expected)).abs().max()) * 255


def affine(image: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix)


def enhanced(enhancer: Any) -> Any:
    return lambda image, factor: enhancer(image).enhance(factor)


# Operation, Pillow's counterpart, two magnitudes, tolerance in levels. Pillow cuts off blended
# values and the mean gray to whole levels; geometric operations pick the same pixels exactly.
CASES: dict[str, tuple[Any, tuple[float, float], float]] = {
    "brightness": (enhanced(ImageEnhance.Brightness), (0.3, 0.95), 1.0),
    "color": (enhanced(ImageEnhance.Color), (0.05, 0.7), 1.5),
    "contrast": (enhanced(ImageEnhance.Contrast), (0.05, 1.6), 1.5),
    "sharpness": (enhanced(ImageEnhance.Sharpness), (0.05, 1.7), 1.5),
    "autocontrast": (lambda image, _: ImageOps.autocontrast(image), (0.0, 1.0), 1.0),
    "equalize": (lambda image, _: ImageOps.equalize(image), (0.0, 1.0), 1e-3),
    "identity": (lambda image, _: image, (0.0, 1.0), 0.0),
    "posterize": (lambda image, bits: ImageOps.posterize(image, round(bits)), (4.2, 6.6), 1e-3),
    "solarize": (
        lambda image, share: ImageOps.solarize(image, round(255 * share)),
        (90 / 255, 180 / 255),
        1e-3,
    ),
    "rotate": (lambda image, degrees: image.rotate(degrees), (-28.3, 11.7), 1e-3),
    "shear_x": (lambda image, m: affine(image, (1, m, 0, 0, 1, 0)), (-0.23, 0.17), 1e-3),
    "shear_y": (lambda image, m: affine(image, (1, 0, 0, m, 1, 0)), (-0.23, 0.17), 1e-3),
    "translate_x": (
        lambda image, m: affine(image, (1, 0, m * WIDTH, 0, 1, 0)),
        (-0.23, 0.17),
        1e-3,
    ),
    "translate_y": (
        lambda image, m: affine(image, (1, 0, 0, 0, 1, m * HEIGHT)),
        (-0.23, 0.17),
        1e-3,
    ),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", CASES)
def test_operation_agrees_with_pillow(name: str, channels: int) -> None:
    counterpart, magnitudes, tolerance = CASES[name]
    images = pil_images(channels)
    result = fixmatch_pool()[name].apply(batch(images), torch.tensor(magnitudes))
    if isinstance(fixmatch_pool()[name], Warp):
        result = warp(batch(images), result)
    expected = [counterpart(image, m) for image, m in zip(images, magnitudes, strict=True)]
    assert largest_difference(result, expected) <= tolerance


def test_brightness_interpolates_between_black_and_the_image() -> None:
    images = batch(pil_images(3))
    result = ops.brightness(images, torch.tensor([0.0, 1.0]))
    assert torch.equal(result[0], torch.zeros_like(images[0]))
    assert torch.equal(result[1], images[1])


def test_uncovered_pixels_get_the_fill_value() -> None:
    images = torch.rand(1, 3, 4, 10)
    result = warp(images, ops.translate_x(images, torch.tensor([0.2])), fill=0.5)
    torch.testing.assert_close(result[..., :8], images[..., 2:])
    assert torch.equal(result[..., 8:], torch.full((1, 3, 4, 2), 0.5))


def test_constant_channels_survive_autocontrast_and_equalize() -> None:
    images = torch.full((1, 3, 5, 5), 0.4)
    for operation in (ops.autocontrast, ops.equalize):
        assert torch.equal(operation(images, torch.zeros(1)), images)


def test_luminance_of_other_channel_counts_is_their_mean() -> None:
    images = torch.rand(2, 4, 3, 3)
    torch.testing.assert_close(ops.luminance(images)[:, 0], images.mean(1))
