"""Training signal annealing against the paper's equations in NumPy."""

import numpy as np
import pytest
import torch
from references.losses import softmax

from sesemi_like.models.heads.loss.base import Step
from sesemi_like.models.heads.loss.parts import TrainingSignalAnnealing
from sesemi_like.models.networks import Networks

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = 2 * torch.randn(200, 4, generator=GENERATOR)
TARGET = torch.randint(4, (200,), generator=GENERATOR)


@pytest.mark.parametrize("schedule", ["linear", "exp", "log"])
@pytest.mark.parametrize("index", [0, 30, 99, 250])
def test_well_predicted_rows_wait_for_the_threshold(schedule: str, index: int) -> None:
    share = min(index / 100, 1)
    a = {"linear": share, "exp": np.exp(5 * (share - 1)), "log": 1 - np.exp(-5 * share)}[schedule]
    threshold = a * (1 - 1 / 4) + 1 / 4
    own = softmax(LOGITS)[np.arange(200), TARGET]
    assert np.abs(own - threshold).min() > 1e-6
    mask = TrainingSignalAnnealing(schedule, max_iterations=100)
    found = mask(LOGITS, TARGET, Step(index, 100, Networks({}), {}))
    np.testing.assert_array_equal(found, own <= threshold)


def test_at_the_end_every_row_counts() -> None:
    sure = torch.tensor([[100.0, 0.0], [0.0, 100.0]])
    mask = TrainingSignalAnnealing("linear", max_iterations=10)
    step = Step(10, 10, Networks({}), {})
    assert mask(sure, torch.tensor([0, 1]), step).tolist() == [1, 1]


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match=r"schedule: found 'lin'; .*linear"):
        TrainingSignalAnnealing("lin")
    with pytest.raises(ValueError, match="max_iterations: found none"):
        TrainingSignalAnnealing()(LOGITS, TARGET, Step(0, None, Networks({}), {}))
