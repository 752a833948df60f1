"""Methods that mix labeled rows in learn them once, with the weights and ramps of their papers."""

from typing import Any

import pytest
from composing import composed
from omegaconf import OmegaConf

from sesemi_like.config.instantiate import instantiate
from sesemi_like.config.resolvers import AppAttributes, app_attributes

STEPS = 2**20
RAMP = 16_384
ATTRIBUTES = AppAttributes(iterations_per_epoch=10, max_iterations=STEPS, num_gpus=0, num_nodes=1)


def head_of(method: str, base: str = "cifar10") -> Any:
    heads = composed(base, f"method={method}").learner.hparams.model.regularization_loss_heads
    with app_attributes(ATTRIBUTES):
        return instantiate(heads[method].head, key=method)


@pytest.mark.parametrize("method", ["mixmatch", "remixmatch"])
@pytest.mark.parametrize("base", ["quickstart", "cifar10", "cifar100", "stl10"])
def test_the_supervised_loss_stays_off_where_labeled_rows_are_mixed_in(
    base: str, method: str
) -> None:
    loss = composed(base, f"method={method}").learner.hparams.model.supervised_loss
    assert OmegaConf.select(loss, "callable._target_") == "torch.nn.CrossEntropyLoss"
    assert loss.scale_factor == 0
    assert composed(base, "method=fixmatch").learner.hparams.model.supervised_loss.scale_factor == 1


@pytest.mark.parametrize("method", ["mixmatch", "remixmatch"])
def test_weights_ramp_as_long_as_in_the_papers(method: str) -> None:
    head = head_of(method)
    with app_attributes(ATTRIBUTES):
        assert head.schedule(0) == 0
        assert head.schedule(RAMP // 2) == 0.5
        assert head.schedule(RAMP - 1) < head.schedule(RAMP) == 1


def test_settings_are_those_of_the_papers() -> None:
    mixmatch, remixmatch = head_of("mixmatch"), head_of("remixmatch")
    assert (mixmatch.weight, mixmatch.mixing.alpha, mixmatch.targets.temperature) == (75, 0.75, 0.5)
    assert (remixmatch.weight, remixmatch.strong_weight, remixmatch.rotation_weight) == (
        1.5,
        0.5,
        0.5,
    )
    assert (remixmatch.alignment.length, remixmatch.alignment.target.target) == (128, "counts")
    ict = head_of("ict").mixing
    assert (ict.alpha, ict.per_row, ict.at_least_half) == (1, False, False)
    regmixmatch = head_of("regmixmatch")
    assert regmixmatch.threshold == 0.999
    assert (regmixmatch.sure_mixing.alpha, regmixmatch.unsure_mixing.alpha) == (1, 16)


def test_labeled_rows_of_tables_are_found_by_the_field_that_is_learned() -> None:
    for method in ("mixmatch", "regmixmatch"):
        config = composed(
            "quickstart", f"method={method}", "learner.hparams.model.input_field=features"
        )
        heads = config.learner.hparams.model.regularization_loss_heads
        assert heads[method].head.labelled_view == "features"
