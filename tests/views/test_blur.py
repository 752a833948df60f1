"""Gaussian blur against torchvision."""

from __future__ import annotations

import torch
from torchvision.transforms.functional import gaussian_blur as torchvision_blur

from sesemi_like.views import GaussianBlur
from sesemi_like.views.blur import gaussian_blur


def test_each_image_is_blurred_by_its_own_width() -> None:
    images, sigmas = torch.rand(3, 2, 11, 13), torch.tensor([0.3, 1.0, 2.5])
    expected = [
        torchvision_blur(image, [9, 9], [sigma.item()] * 2)
        for image, sigma in zip(images, sigmas, strict=True)
    ]
    result = gaussian_blur(images, sigmas, radius=4)
    torch.testing.assert_close(result, torch.stack(expected), atol=1e-5, rtol=0)


def test_kernel_is_limited_by_small_images() -> None:
    images = torch.full((2, 1, 3, 4), 0.25)
    torch.testing.assert_close(GaussianBlur((5, 5))(images), images)
