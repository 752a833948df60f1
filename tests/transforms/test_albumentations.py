"""The adapter for albumentations, and what it says without it."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from sesemi_like.transforms import Albumentations
from sesemi_like.transforms.albumentations import to_float_tensor

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def test_images_become_float_tensors() -> None:
    library = pytest.importorskip("albumentations", reason="albumentations is not installed")
    transform = Albumentations([library.HorizontalFlip(p=1.0)])
    expected = torch.from_numpy(PIXELS[:, ::-1].transpose(2, 0, 1).copy()) / 255
    for image in (PIXELS, Image.fromarray(PIXELS)):
        torch.testing.assert_close(transform(image), expected)


def test_normalized_results_are_kept() -> None:
    library = pytest.importorskip("albumentations", reason="albumentations is not installed")
    transform = Albumentations([library.Normalize(mean=(0.5,) * 3, std=(0.5,) * 3)])
    expected = torch.from_numpy(PIXELS.transpose(2, 0, 1) / 127.5 - 1).float()
    torch.testing.assert_close(transform(PIXELS), expected, atol=1e-5, rtol=0)


def test_results_without_channels_and_tensors() -> None:
    assert to_float_tensor(PIXELS[..., 0]).shape == (1, 5, 7)
    assert to_float_tensor(torch.full((1, 2, 2), 255, dtype=torch.uint8)).unique().tolist() == [1]


def test_missing_library_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "albumentations", None)
    with pytest.raises(ImportError, match=r"sesemi-like\[augmentation\]"):
        Albumentations([])
