"""Averages over rows: in mixed precision as exact as without."""

import torch

from sesemi_like.models.heads.loss.parts import RunningAverage, mean_of_all

ROWS = torch.rand(301, 4, generator=torch.Generator().manual_seed(0))
WEIGHTS = torch.rand(301, generator=torch.Generator().manual_seed(1))


def test_means_are_exact_in_mixed_precision() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        mean, count = mean_of_all(ROWS, WEIGHTS)
    assert mean.dtype == torch.float32
    torch.testing.assert_close(mean, (WEIGHTS[:, None] * ROWS).sum(dim=0) / WEIGHTS.sum())
    torch.testing.assert_close(count, WEIGHTS.sum())


def test_nothing_that_counts_leaves_an_average() -> None:
    average = RunningAverage()
    average.build(4)
    average.update(ROWS[:0])
    average.update(ROWS, torch.zeros(301))
    assert average.value.tolist() == [0.25] * 4
    average.update(ROWS)
    torch.testing.assert_close(average.value, ROWS.mean(dim=0))
