"""Noise on vectors: its moments, seeds, the share left out, and what is refused."""

import pytest
import torch

from sesemi_like.views import Noise


def test_noise_has_the_given_deviation_and_mean() -> None:
    values = torch.full((200, 500), 3.0)
    view = Noise(std=0.5)(values, torch.Generator().manual_seed(0))
    assert abs(float(view.mean()) - 3) < 0.01
    assert abs(float(view.std()) - 0.5) < 0.01
    assert torch.equal(view, Noise(std=0.5)(values, torch.Generator().manual_seed(0)))
    assert not torch.equal(view, Noise(std=0.5)(values, torch.Generator().manual_seed(1)))
    assert (values == 3).all()


def test_a_share_of_the_values_is_left_out() -> None:
    values = torch.ones(200, 500, dtype=torch.float64)
    view = Noise(std=0, drop=0.3)(values, torch.Generator().manual_seed(0))
    assert view.dtype == torch.float32
    assert set(view.unique().tolist()) == {0.0, 1.0}
    assert abs(float(view.mean()) - 0.7) < 0.01


def test_wrong_settings_and_values_are_refused() -> None:
    with pytest.raises(ValueError, match="std: found -1"):
        Noise(std=-1)
    with pytest.raises(ValueError, match="drop: found 1"):
        Noise(drop=1)
    with pytest.raises(ValueError, match="floating point"):
        Noise()(torch.zeros(2, 3, dtype=torch.int64))
