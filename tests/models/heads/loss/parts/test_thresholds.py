"""The fixed threshold by hand."""

import pytest
import torch

from sesemi_like.models.heads.loss.parts import FixedThreshold, threshold_module

PROBABILITIES = torch.tensor([[0.5, 0.5], [0.75, 0.25], [0.1, 0.9]])


@pytest.mark.parametrize(
    ("value", "kept"), [(0, [1, 1, 1]), (0.75, [0, 1, 1]), (0.8, [0, 0, 1]), (1.0, [0, 0, 0])]
)
def test_rows_that_reach_the_value_are_kept(value: float, kept: list[int]) -> None:
    mask = FixedThreshold(value)(PROBABILITIES)
    assert mask.tolist() == kept
    assert mask.dtype == PROBABILITIES.dtype


@pytest.mark.parametrize("value", [-0.1, 1.01, float("nan")])
def test_other_values_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="needs a confidence"):
        FixedThreshold(value)


def test_a_number_becomes_a_fixed_threshold_and_a_part_stays() -> None:
    part = FixedThreshold(0.3)
    assert threshold_module(part) is part
    assert threshold_module(0.8)(PROBABILITIES).tolist() == [0, 0, 1]
