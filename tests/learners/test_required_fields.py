"""What a learner reads is known from its config alone."""

import pytest
from composing import composed

from sesemi_like.config.facts import DataFacts
from sesemi_like.config.old_names import EARLIER
from sesemi_like.config.resolvers import AppAttributes, app_attributes
from sesemi_like.learners.required_fields import draft_learner, required_fields

LOADERS = ("supervised", "unlabeled", "rotation_prediction")
SUPERVISED = {"supervised": {"image", "target"}}


def read(*overrides: str, name: str = "quickstart") -> dict[str, set[str]] | None:
    config = composed(name, *overrides)
    with app_attributes(AppAttributes(1, 1, 0, 1)):
        draft = draft_learner(config.learner)
    return required_fields(draft, LOADERS) if draft else None


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
        "learner._target_=pytorch_lightning.LightningModule",
        "learner.hparams.model.supervised_loss.scale_factor=0",
    ],
)
def test_mistakes_are_left_to_those_who_report_them(mistake: str) -> None:
    assert read("method=supervised", mistake.replace("+", "")) is None


def test_a_class_that_is_no_learner_has_no_draft() -> None:
    config = composed("quickstart", "learner._target_=pytorch_lightning.LightningModule")
    assert draft_learner(config.learner) is None


def test_a_learner_of_an_unknown_name_is_left_to_the_build_without_log_messages(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert read("learner._target_=sesemi_like.NoLearner") is None
    assert caplog.text == ""


def test_a_learner_is_drafted_by_an_earlier_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EARLIER, "before.Classifier", "Classifier")
    assert read("method=supervised", "learner._target_=sesemi_like.before.Classifier") == SUPERVISED


def test_a_classifier_is_asked_about_its_data_before_its_networks_are_built() -> None:
    config = composed("quickstart", "learner.hparams.model.backbone._target_=no.such.backbone")
    with app_attributes(AppAttributes(1, 1, 0, 1)):
        draft = draft_learner(config.learner)
    assert draft is not None
    assert (draft.num_classes, draft.labeled_loader) == (10, "supervised")
    assert draft.problems(DataFacts()) == []
    assert draft.problems(DataFacts(num_classes=10)) == []
    (problem,) = draft.problems(DataFacts(num_classes=12, classes=["cat", "dog"]))
    assert (
        str(problem) == "learner.hparams.num_classes: found 10; the data have 12 classes: cat, dog"
    )
