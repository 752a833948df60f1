"""The settings of the supervised loss in a config reach its head, and a run trains with them."""

from pathlib import Path

import pytest
from composing import composed
from tiny_runs import TINY, fit

from sesemi_like.config.check import check
from sesemi_like.errors import ConfigError
from sesemi_like.models.heads.loss.parts import INTERPOLATE, Mixup, TrainingSignalAnnealing
from sesemi_like.run.modes import MODES
from sesemi_like.run.prepare import prepare

LOSS = "learner.hparams.model.supervised_loss"
PARTS = "sesemi_like.models.heads.loss.parts"
WEAK = "{_target_: sesemi_like.views.weak}"
ANNEALED = (
    f"{LOSS}.mask={{_target_: sesemi_like.models.heads.loss.parts.TrainingSignalAnnealing, "
    "schedule: log, max_iterations: '${app:max_iterations}'}"
)
TWO_VIEWS = [f"+data.train.supervised.views.more={WEAK}", f"{LOSS}.views=[image,more]"]


def test_two_views_and_a_mask_from_the_config(tmp_path: Path) -> None:
    overrides = ["method=supervised", *TWO_VIEWS, ANNEALED, f"{LOSS}.reduction=weighted_mean"]
    config = composed("quickstart", *TINY, *overrides)
    learner = prepare(config, check(config, MODES)).learner
    head = learner.terms["supervised"].head
    assert isinstance(head.mask, TrainingSignalAnnealing)
    assert head.mask.max_iterations == 10
    logged = {"train/supervised/image", "train/supervised/more", "train/supervised/top1"}
    assert logged <= learner.logged_names
    folder, summary = fit(tmp_path, *overrides)
    assert summary["steps"] == 10
    header = next(folder.rglob("metrics.csv")).read_text().splitlines()[0].split(",")
    assert logged <= set(header)


def test_labeled_rows_are_mixed_from_the_config(tmp_path: Path) -> None:
    overrides = ["method=supervised", f"{LOSS}.mixing={{_target_: {PARTS}.Mixup, alpha: 0.2}}"]
    config = composed("quickstart", *TINY, *overrides)
    head = prepare(config, check(config, MODES)).learner.terms["supervised"].head
    assert isinstance(head.mixing, Mixup)
    assert head.mixing.alpha == 0.2
    _, summary = fit(tmp_path, *overrides, "evaluation=losses")
    assert summary["steps"] == 10


@pytest.mark.parametrize("is_on", [True, False])
def test_interpolated_logits_from_the_config_need_a_second_forward(is_on: bool) -> None:
    config = composed("quickstart", *TINY, "method=supervised", f"{LOSS}.interpolated={is_on}")
    learner = prepare(config, check(config, MODES)).learner
    requests = learner.terms["supervised"].head.forwards({})
    assert ("drawn.image" in requests) == is_on
    assert learner.plan is not None
    assert (INTERPOLATE in str(learner.plan.requests)) == is_on


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (f"{LOSS}.views=[weak]", r"found 'supervised\.weak'.*offers no 'weak'"),
        (f"{LOSS}.target=kind", r"found 'supervised\.kind'.*offers no 'kind'"),
        (f"{LOSS}.views=[]", r"supervised_loss\.views: found \[\]"),
        (f"{LOSS}.views=[image,image]", r"supervised_loss\.views: .*each once"),
        (f"{LOSS}.mask={{_target_: NoSuchMask}}", r"supervised_loss\.mask"),
        (f"{LOSS}.mixing={{_target_: {PARTS}.Mixup, alpha: -1}}", r"mixing.*alpha: found -1"),
    ],
)
def test_what_is_not_there_is_named(override: str, expected: str) -> None:
    config = composed("quickstart", *TINY, "method=supervised", override)
    with pytest.raises(ConfigError, match=expected):
        prepare(config, check(config, MODES))
