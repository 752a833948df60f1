"""What ${app:...} returns outside a run, inside one, and in runs that follow each other."""

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError

from sesemi_like.config.resolvers import AppAttributes, app_attributes, register_resolvers

register_resolvers()

ATTRIBUTES = AppAttributes(7, 70, 0, 1)


@pytest.mark.parametrize("resolver", ["app", "sesemi"])
def test_both_names_answer_the_attributes_of_the_run(resolver: str) -> None:
    config = OmegaConf.create({"steps": f"${{{resolver}:max_iterations}}"})
    with app_attributes(ATTRIBUTES):
        assert config.steps == 70
    with app_attributes(AppAttributes(9, 90, 0, 1)):
        assert config.steps == 90, "a second run in the process must not see the first one's value"


def test_before_the_data_is_read_it_says_so() -> None:
    config = OmegaConf.create({"steps": "${app:iterations_per_epoch}"})
    assert config.steps == "<iterations_per_epoch: known once the run has read its data>"


def test_without_train_data_it_is_null() -> None:
    config = OmegaConf.create({"steps": "${app:max_iterations}"})
    with app_attributes(AppAttributes(None, None, 0, 1)):
        assert config.steps is None


def test_a_failing_run_leaves_nothing_behind() -> None:
    with pytest.raises(RuntimeError, match="boom"), app_attributes(ATTRIBUTES):
        raise RuntimeError("boom")
    assert "known once" in OmegaConf.create({"x": "${app:num_gpus}"}).x


def test_an_unknown_attribute_proposes_the_spelling_that_was_meant() -> None:
    config = OmegaConf.create({"steps": "${app:max_iteration}"})
    with pytest.raises(InterpolationResolutionError, match="did you mean 'max_iterations'"):
        _ = config.steps
