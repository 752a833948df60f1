"""The divergence between views against NumPy; which rows count; who gets gradients."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from references.losses import softmax
from references.pseudo_labels import divergence
from torch import Tensor

from sesemi_like.learners.reductions import reduce_terms
from sesemi_like.models.heads.loss import PseudoLabelLossHead
from sesemi_like.models.heads.loss.parts import CurriculumPolicy, ViewKLTerm

WEAK, MEDIUM, STRONG = (
    (f"unlabeled.{view}", "classifier") for view in ("weak", "medium", "strong")
)
THRESHOLD = 0.6


def views(rows: int = 8) -> dict[Any, Tensor]:
    """Logits of five classes in double precision for three views, of which gradients are taken."""
    generator = torch.Generator().manual_seed(rows)
    weak, medium, strong = torch.randn(3, rows, 5, generator=generator, dtype=torch.float64)
    given = {WEAK: 3 * weak, MEDIUM: 2 * medium, STRONG: strong}
    return {key: value.requires_grad_() for key, value in given.items()}


def head(**settings: Any) -> PseudoLabelLossHead:
    return PseudoLabelLossHead(policy=THRESHOLD, terms={"kl": ViewKLTerm(**settings)})


def sure(logits: Tensor, threshold: float = THRESHOLD) -> Any:
    return softmax(logits.detach().numpy()).max(axis=1) >= threshold


@pytest.mark.parametrize("rows", [8, 1])
@pytest.mark.parametrize(
    "settings, source, target",
    [
        ({}, WEAK, STRONG),
        ({"temperature": 0.5}, WEAK, STRONG),
        ({"target": "medium"}, WEAK, MEDIUM),
        ({"source": "medium", "temperature": 2.0}, MEDIUM, STRONG),
        ({"source": "strong", "target": "weak"}, STRONG, WEAK),
    ],
)
def test_it_is_the_divergence_of_the_two_views(
    play: Callable[..., Any], settings: dict[str, Any], source: Any, target: Any, rows: int
) -> None:
    given = views(rows)
    asked = {key: given[key] for key in {WEAK, STRONG, source, target}}
    term = play(head(rows="all", **settings), asked).terms["kl"]
    expected = divergence(
        given[source].detach().numpy(),
        given[target].detach().numpy(),
        settings.get("temperature", 1.0),
    )
    np.testing.assert_allclose(term.losses.detach(), expected)
    assert term.weights is None


def test_rows_are_those_that_the_policy_keeps_or_leaves_out(play: Callable[..., Any]) -> None:
    given = views()
    asked = {key: given[key] for key in (WEAK, STRONG)}
    kept = sure(given[WEAK])
    assert 0 < kept.sum() < len(kept)
    assert play(head(), asked).terms["kl"].weights.tolist() == kept.tolist()
    left_out = play(head(rows="left_out"), asked).terms["kl"].weights
    assert left_out.tolist() == (~kept).tolist()


def test_a_threshold_of_its_own_is_of_the_source(play: Callable[..., Any]) -> None:
    given = views()
    settings = {"source": "medium", "threshold": 0.7}
    weights = play(head(**settings), given).terms["kl"].weights
    assert weights.tolist() == sure(given[MEDIUM], 0.7).tolist() != sure(given[WEAK]).tolist()
    weights = play(head(rows="left_out", **settings), given).terms["kl"].weights
    assert weights.tolist() == (~sure(given[MEDIUM], 0.7)).tolist()


def test_a_row_that_counts_for_a_part_is_left_out_for_the_rest(play: Callable[..., Any]) -> None:
    class Parts(torch.nn.Module):
        def forward(self, probabilities: Tensor) -> Tensor:
            return torch.tensor([0.25, 1.0, 1.5, 0.0], dtype=probabilities.dtype)

    given = views(4)
    term = ViewKLTerm(rows="left_out", threshold=Parts())
    found = PseudoLabelLossHead(policy=THRESHOLD, terms={"kl": term})
    outputs = play(found, {key: given[key] for key in (WEAK, STRONG)})
    assert outputs.terms["kl"].weights.tolist() == [0.75, 0, 0, 1]


@pytest.mark.parametrize("rows", ["kept", "left_out"])
def test_gradients_reach_the_rows_of_the_target_that_count(
    play: Callable[..., Any], rows: str
) -> None:
    given = views()
    outputs = play(head(rows=rows, source="weak", target="medium"), given)
    terms = reduce_terms(outputs, "mean").terms
    terms["kl"].backward()
    counts = sure(given[WEAK]) == (rows == "kept")
    assert given[WEAK].grad is None and given[STRONG].grad is None
    assert given[MEDIUM].grad.any(dim=1).tolist() == counts.tolist()


def test_all_rows_of_the_learner_are_asked_for_where_they_are_needed() -> None:
    def whole(**settings: Any) -> bool:
        asked = head(**settings).forwards({})
        return "kl.target" in asked and asked["kl.target"].rows is None

    assert not whole(), "rows of weight zero need not be run"
    assert whole(rows="left_out")
    assert whole(rows="all")
    assert whole(threshold=0.3)


def test_rows_of_another_target_that_the_policy_leaves_out_need_not_be_run() -> None:
    asked = head(target="medium").forwards({})
    assert asked["kl.target"].rows == asked["learner"].rows is not None
    assert head(target="medium", threshold=0.3).forwards({})["kl.target"].rows is None


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="temperature: found 0; needs a number above 0"):
        ViewKLTerm(temperature=0)
    with pytest.raises(ValueError, match=r"rows: found 'leftout'; .*left_out"):
        ViewKLTerm(rows="leftout")
    with pytest.raises(ValueError, match=r"threshold: found 0\.9; all rows count"):
        ViewKLTerm(rows="all", threshold=0.9)
    with pytest.raises(ValueError, match=r"threshold: found 2; .*\[0, 1\]"):
        ViewKLTerm(threshold=2)
    with pytest.raises(ValueError, match=r"threshold: found CurriculumPolicy; .* `policy`"):
        ViewKLTerm(threshold=CurriculumPolicy())
