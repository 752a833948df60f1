"""A part where one of another kind belongs is refused by the setting's name."""

from collections.abc import Mapping
from typing import Any

import pytest

from sesemi_like.models.heads.loss import (
    CoMatchLossHead,
    FixMatchLossHead,
    MixMatchLossHead,
    PseudoLabelLossHead,
    RegMixMatchLossHead,
    ReMixMatchLossHead,
)
from sesemi_like.models.heads.loss.parts import (
    AverageAlignment,
    FairnessTerm,
    FixedPolicy,
    GaussianPolicy,
    HardTargets,
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
