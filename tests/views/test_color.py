"""Color changes against torchvision and the standard library's color conversions."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import functional

from sesemi_like.views import ColorJitter, Gamma, Grayscale
from sesemi_like.views.color import shift_hue
from sesemi_like.views.operations import brightness, color, contrast


@pytest.mark.parametrize(
    ("operation", "reference"),
    [
        (brightness, functional.adjust_brightness),
        (color, functional.adjust_saturation),
        (contrast, functional.adjust_contrast),
    ],
)
def test_factors_above_one_agree_with_torchvision(operation: Any, reference: Any) -> None:
    images, factors = torch.rand(3, 3, 6, 7), torch.tensor([0.2, 1.0, 1.8])
    expected = [reference(i, f.item()) for i, f in zip(images, factors, strict=True)]
    # torchvision's luma weights have four digits.
    torch.testing.assert_close(operation(images, factors), torch.stack(expected), atol=1e-3, rtol=0)


def test_shift_hue_agrees_with_the_standard_library() -> None:
    colors = torch.rand(5, 3, 2, 3)
    colors[0] = colors[0, :1]
    colors[1, :, 0, 0] = torch.tensor([1.0, 0.0, 0.0])
    shifts = torch.tensor([0.3, -0.5, 0.1, -0.2, 0.5])
    result = shift_hue(colors, shifts).permute(0, 2, 3, 1).reshape(5, -1, 3)
    for i, pixels in enumerate(colors.permute(0, 2, 3, 1).reshape(5, -1, 3).tolist()):
        for j, pixel in enumerate(pixels):
            hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
            expected = colorsys.hsv_to_rgb((hue + shifts[i].item()) % 1, saturation, value)
            np.testing.assert_allclose(result[i, j], expected, atol=1e-5)


def test_a_single_channel_has_no_hue_and_others_are_refused() -> None:
    view = ColorJitter(hue=0.3)
    gray = torch.rand(2, 1, 4, 4)
    torch.testing.assert_close(view(gray), gray)
    with pytest.raises(ValueError, match="images: found '4 channels'; expected 1 or 3"):
        view(torch.rand(2, 4, 4, 4))


def test_color_jitter_draws_from_the_ranges_around_one() -> None:
    images = torch.full((1000, 1, 1, 1), 0.5)
    factors = ColorJitter(brightness=0.4)(images, torch.Generator().manual_seed(0)).flatten() * 2
    assert 0.6 <= factors.min() < 0.62
    assert 1.38 < factors.max() <= 1.4


def test_color_jitter_names_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"hue: found 0.7; expected a number in \[0, 0.5\]"):
        ColorJitter(hue=0.7)
    with pytest.raises(ValueError, match="contrast: found -1; expected a number of at least 0"):
        ColorJitter(contrast=-1)


def test_grayscale_keeps_the_channels() -> None:
    images = torch.rand(2, 3, 4, 5)
    expected = functional.rgb_to_grayscale(images, 3)
    torch.testing.assert_close(Grayscale(p=1)(images), expected, atol=1e-3, rtol=0)
    assert torch.equal(Grayscale(p=0)(images), images)


def test_gamma_is_a_power() -> None:
    images = torch.rand(2, 3, 4, 5)
    torch.testing.assert_close(Gamma((2, 2))(images), images**2)
    powers = Gamma((0.5, 1.5))(torch.full((1000, 1, 1, 1), 0.5)).log2().neg()
    assert 0.5 <= powers.min() < 0.52
    assert 1.48 < powers.max() <= 1.5
