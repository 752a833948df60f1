"""Pseudo-labels by hand."""

import pytest
import torch

from sesemi_like.models.heads.loss.parts import HardTargets, SharpenedTargets

PROBABILITIES = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.3, 0.6]])


def test_hard_targets_are_one_hot() -> None:
    assert HardTargets()(PROBABILITIES.log()).tolist() == [[1, 0, 0], [0, 0, 1]]


def test_temperature_one_keeps_the_probabilities() -> None:
    torch.testing.assert_close(SharpenedTargets()(PROBABILITIES.log()), PROBABILITIES)


def test_temperature_is_a_power_of_the_probabilities() -> None:
    # T = 1/2 squares them: (4, 1, 1) / 6 and (1, 9, 36) / 46.
    expected = torch.tensor([[4 / 6, 1 / 6, 1 / 6], [1 / 46, 9 / 46, 36 / 46]])
    torch.testing.assert_close(SharpenedTargets(0.5)(PROBABILITIES.log()), expected)


def test_a_low_temperature_approaches_hard_targets() -> None:
    sharp = SharpenedTargets(0.01)(PROBABILITIES.log())
    torch.testing.assert_close(sharp, HardTargets()(PROBABILITIES.log()))


@pytest.mark.parametrize("temperature", [0, -1.0])
def test_a_temperature_must_be_above_zero(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature: found"):
        SharpenedTargets(temperature)
