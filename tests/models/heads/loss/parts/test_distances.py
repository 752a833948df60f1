"""Distances between predictions against NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from references import losses as reference

from sesemi_like.models.heads.loss.parts import (
    distance_function,
    entropy,
    softmax_kl,
    softmax_mse,
)

PAIRS = {
    softmax_mse: reference.squared_difference,
    softmax_kl: reference.kullback_leibler,
}


@pytest.mark.parametrize("distance", PAIRS)
@pytest.mark.parametrize("shape", [(1, 2), (8, 10), (0, 3)])
def test_against_the_equation(distance: Callable[..., Any], shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    first, second = 4 * torch.randn(shape), 4 * torch.randn(shape)
    expected = PAIRS[distance](first.numpy(), second.numpy()).reshape(shape[0])
    np.testing.assert_allclose(distance(first, second), expected, rtol=1e-3, atol=1e-6)


def test_kl_takes_its_second_argument_as_the_target() -> None:
    uniform, certain = torch.zeros(1, 2), torch.tensor([[50.0, 0.0]])
    # A certain target and a uniform prediction: 1 log(1 / 0.5).
    assert softmax_kl(uniform, certain).item() == pytest.approx(np.log(2))
    # A uniform target and a certain prediction: 2 * 0.5 * log(0.5) + 0.5 * 50.
    assert softmax_kl(certain, uniform).item() == pytest.approx(25 - np.log(2), rel=1e-5)


def test_mse_is_largest_between_two_certain_predictions() -> None:
    first, second = torch.tensor([[50.0, 0.0, 0.0, 0.0]]), torch.tensor([[0.0, 50.0, 0.0, 0.0]])
    assert softmax_mse(first, second).item() == pytest.approx(2 / 4)


def test_entropy_lies_between_zero_and_log_c() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, 4.0], [99.0, 0.0, 0.0, 0.0]])
    values = entropy(logits)
    assert values[0].item() == pytest.approx(np.log(4))
    assert values[1].item() == pytest.approx(reference.entropy(logits[1:2].numpy())[0])
    assert values[2].item() == pytest.approx(0, abs=1e-6)


def test_distances_are_found_by_name_or_given_as_callables() -> None:
    assert distance_function("kl") is softmax_kl
    assert distance_function(softmax_mse) is softmax_mse
    with pytest.raises(ValueError, match="found 'cosine'; distances: kl, mse"):
        distance_function("cosine")
