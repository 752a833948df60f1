"""What a learner reads is known from its config alone."""

import pytest
from composing import composed
from torch import Tensor

from sesemi_like.config.resolvers import AppAttributes, app_attributes
from sesemi_like.learners.required_fields import required_fields

LOADERS = ("supervised", "unlabeled", "rotation_prediction")
SUPERVISED = {"supervised": {"image", "target"}}


def read(*overrides: str, name: str = "quickstart") -> dict[str, Tensor]:
    config = composed(name, *overrides)
    with app_attributes(AppAttributes(1, 1, 0, 1)):
        return required_fields(config.learner, LOADERS)


@pytest.mark.parametrize(
    ("method", "unlabeled"),
    [
        ("fixmatch", {"weak", "strong"}),
        ("pi_model", {"weak", "weak_2"}),
        ("rotation", {"rotation.image", "rotation.target"}),
        ("entropy_minimization", {"weak"}),
    ],
)
def test_methods_read_the_views_of_their_papers(method: str, unlabeled: set[str]) -> None:
    assert read(f"method={method}") == {**SUPERVISED, "unlabeled": unlabeled}


def test_a_method_without_a_head_reads_no_further_loader() -> None:
    assert read("method=supervised") == SUPERVISED
    both = {**SUPERVISED, "rotation_prediction": {"image", "target"}}
    assert read(name="base") == both
    assert read("method=supervised", name="base") == SUPERVISED


def test_a_head_that_is_switched_off_reads_nothing() -> None:
    heads = "learner.hparams.model.regularization_loss_heads"
    assert read(f"{heads}.fixmatch.scale_factor=0") == SUPERVISED


@pytest.mark.parametrize(
    "mistake",
    [
        "+learner.hparams.model.supervised_loss.input_data=supervized",
        "learner.hparams.model.supervised_loss.callable._target_=torch.nn.NoSuchLoss",
        "learner._target_=sesemi_like.NoLearner",
        "learner.hparams.model.supervised_loss.scale_factor=0",
    ],
)
def test_mistakes_are_left_to_those_who_tell_them(mistake: str) -> None:
    assert read("method=supervised", mistake.replace("+", "")) is None
