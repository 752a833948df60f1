"""ABC's rates of classes against NumPy: by draws, on average, and as they are ramped."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from parts_playing import FACTS, batches, build, weigh
from references.selection import abc_rates

from sesemi_like.config.facts import DataFacts
from sesemi_like.errors import ConfigError
from sesemi_like.models.heads.loss.base import Step
from sesemi_like.models.heads.loss.parts import ClassSamplingPolicy
from sesemi_like.models.networks import Networks
from sesemi_like.schedulers import ConstantSchedule, LinearSchedule

COUNTS = FACTS.class_counts["supervised"]


def test_rows_are_kept_with_the_rate_of_their_class() -> None:
    policy, (batch,) = build(ClassSamplingPolicy()), batches(200)
    assert batch.uniform is not None
    rates = abc_rates(COUNTS, 1.0)[batch.classes.numpy()]
    np.testing.assert_array_equal(weigh(policy, batch), batch.uniform.numpy() < rates)


def test_rows_without_draws_weigh_their_rate() -> None:
    policy, (batch,) = build(ClassSamplingPolicy([0.1, 0.2, 0.3, 1.0])), batches(20)
    found = weigh(policy, replace(batch, uniform=None))
    torch.testing.assert_close(found, torch.tensor([0.1, 0.2, 0.3, 1.0])[batch.classes])


def test_the_share_grows_over_the_run_and_survives_a_restart() -> None:
    policy = build(ClassSamplingPolicy(ramp=LinearSchedule(duration="100%", max_iterations=4)))
    (batch,) = batches(50)
    batch = replace(batch, uniform=None)
    for index in range(6):
        expected = abc_rates(COUNTS, min(index / 4, 1))[batch.classes.numpy()]
        np.testing.assert_allclose(weigh(policy, batch), expected, rtol=1e-6)
        policy.after_step(Step(index, 4, Networks({}), {}))
        resumed = build(ClassSamplingPolicy(ramp=LinearSchedule(duration=4)))
        resumed.load_state_dict(policy.state_dict())
        assert torch.equal(weigh(resumed, batch), weigh(policy, batch))


def test_the_first_step_has_the_share_of_the_ramp() -> None:
    (batch,) = batches(20)
    batch = replace(batch, uniform=None)
    found = weigh(build(ClassSamplingPolicy(ramp=ConstantSchedule(0.5))), batch)
    np.testing.assert_allclose(found, abc_rates(COUNTS, 0.5)[batch.classes.numpy()], rtol=1e-6)


def test_a_class_without_labels_is_always_kept() -> None:
    policy = build(ClassSamplingPolicy(), DataFacts(class_counts={"supervised": [4, 2, 0]}))
    assert policy.rates.tolist() == [0.5, 1, 1, 1]


def test_no_row_at_all() -> None:
    (batch,) = batches(0)
    assert weigh(build(ClassSamplingPolicy()), batch).shape == (0,)


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match=r"rates: found \[2\]; needs numbers in \[0, 1\]"):
        ClassSamplingPolicy([2])
    with pytest.raises(ValueError, match="rates: found 1 numbers for 4 classes"):
        build(ClassSamplingPolicy([1]))
    with pytest.raises(ConfigError, match="number of its labels"):
        build(ClassSamplingPolicy(), DataFacts())
