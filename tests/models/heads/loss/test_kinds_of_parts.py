"""A part where one of another kind belongs is refused by the setting's name."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from sesemi_like.models.heads.loss import (
    CoMatchLossHead,
    FixMatchLossHead,
    MixMatchLossHead,
    PseudoLabelLossHead,
    RegMixMatchLossHead,
    ReMixMatchLossHead,
)
from sesemi_like.models.heads.loss.parts import (
    Alignment,
    AverageAlignment,
    FairnessTerm,
    FixedPolicy,
    GaussianPolicy,
    HardTargets,
    Policy,
    Prediction,
    ProductPolicy,
    QueueAlignment,
    ViewKLTerm,
)


@pytest.mark.parametrize(
    ("head", "settings", "message"),
    [
        (PseudoLabelLossHead, {"alignment": GaussianPolicy()}, "^alignment: found GaussianPolicy;"),
        (PseudoLabelLossHead, {"alignment": "uniform"}, "^alignment: found 'uniform'; needs one"),
        (PseudoLabelLossHead, {"targets": GaussianPolicy()}, "^targets: found GaussianPolicy;"),
        (PseudoLabelLossHead, {"targets": "soft"}, "^targets: found 'soft'; needs a part"),
        (PseudoLabelLossHead, {"policy": AverageAlignment()}, "^policy: found AverageAlignment;"),
        (PseudoLabelLossHead, {"policy": FairnessTerm()}, "^policy: found FairnessTerm; needs a"),
        (PseudoLabelLossHead, {"policy": "high"}, "^policy: found 'high'; needs a confidence"),
        (PseudoLabelLossHead, {"terms": FairnessTerm()}, "^terms: found FairnessTerm; needs terms"),
        (PseudoLabelLossHead, {"terms": {"a": GaussianPolicy()}}, "^terms.a: found GaussianPolicy"),
        (FixMatchLossHead, {"threshold": AverageAlignment()}, "^policy: found AverageAlignment;"),
        (CoMatchLossHead, {"alignment": GaussianPolicy()}, "^alignment: found GaussianPolicy;"),
        (CoMatchLossHead, {"policy": AverageAlignment()}, "^policy: found AverageAlignment;"),
        (MixMatchLossHead, {"targets": GaussianPolicy()}, "^targets: found GaussianPolicy;"),
        (ReMixMatchLossHead, {"alignment": GaussianPolicy()}, "^alignment: found GaussianPolicy;"),
        (ReMixMatchLossHead, {"targets": GaussianPolicy()}, "^targets: found GaussianPolicy;"),
        (RegMixMatchLossHead, {"policy": AverageAlignment()}, "^policy: found AverageAlignment;"),
        (ProductPolicy, {"policies": [AverageAlignment()]}, "^policy: found AverageAlignment;"),
        (FixedPolicy, {"threshold": GaussianPolicy()}, "^threshold: found GaussianPolicy; needs a"),
        (ViewKLTerm, {"threshold": GaussianPolicy()}, "^threshold: found GaussianPolicy; needs a"),
    ],
)
def test_a_part_of_another_kind_is_refused(
    head: Any, settings: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        head(**settings)


class Misspelled(Policy):
    """Needs what there is not."""

    needs = ("indx",)


@pytest.mark.parametrize(
    "build",
    [
        lambda: PseudoLabelLossHead(policy=Misspelled()),
        lambda: CoMatchLossHead(policy=Misspelled()),
        lambda: ProductPolicy([0.9, Misspelled()]),
    ],
)
def test_a_need_of_no_such_name_is_refused(build: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="needs of Misspelled: found 'indx'; did you mean 'index'"):
        build()


class Truth(Policy):
    """Answers true and false."""

    def forward(self, prediction: Prediction) -> Tensor:
        return prediction.confidence > 0.5


class Fewer(Alignment):
    """Leaves a row out."""

    def forward(self, prediction: Prediction) -> Tensor:
        return prediction.logits[1:]


def test_answers_of_another_type_or_shape_name_the_part() -> None:
    teacher = {"logits": torch.zeros(3, 4)}
    with pytest.raises(ValueError, match=r"^Truth answers torch.bool \(3,\); needs torch.float32 "):
        PseudoLabelLossHead(policy=Truth()).judge(teacher)
    with pytest.raises(
        ValueError, match=r"^Fewer answers torch.float32 \(2, 4\); needs .*\(3, 4\)"
    ):
        PseudoLabelLossHead(alignment=Fewer()).judge(teacher)


def test_parts_of_the_right_kind_are_taken() -> None:
    PseudoLabelLossHead(
        alignment=AverageAlignment(),
        targets=HardTargets(),
        policy=GaussianPolicy(),
        terms={"fairness": FairnessTerm()},
    )


@pytest.mark.parametrize("alignment", [AverageAlignment, QueueAlignment])
def test_frequencies_are_not_divided_by_zero(alignment: Any) -> None:
    with pytest.raises(ValueError, match="eps: found -1; needs a number above 0"):
        alignment(eps=-1)
