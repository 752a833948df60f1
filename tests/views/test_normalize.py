"""Normalization against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from sesemi_like.views import Normalize


def test_numbers_and_lists() -> None:
    images = torch.rand(2, 3, 4, 5)
    result = Normalize([0.1, 0.2, 0.3], 0.5)(images).numpy()
    expected = (images.numpy() - np.array([0.1, 0.2, 0.3]).reshape(1, 3, 1, 1)) / 0.5
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_lists_from_a_config() -> None:
    config = OmegaConf.create({"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]})
    result = Normalize(config.mean, config.std)(torch.ones(1, 3, 2, 2))
    assert torch.equal(result, torch.ones(1, 3, 2, 2))


def test_lists_must_fit_the_channels() -> None:
    view = Normalize([0.1, 0.2, 0.3], [1, 1, 1])
    with pytest.raises(ValueError, match=r"mean: found .*; expected one number, or 1 for images"):
        view(torch.rand(2, 1, 4, 4))


@pytest.mark.parametrize("std", [0, [0.5, -1.0], "one", []])
def test_bad_standard_deviations_are_named(std: Any) -> None:
    with pytest.raises(ValueError, match="std: found"):
        Normalize(0.5, std)
