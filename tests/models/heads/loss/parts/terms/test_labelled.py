"""The loss of pseudo-labels on labeled rows: FixMatch's in NumPy, and what follows the state."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from references.losses import fixmatch
from torch import Tensor

from sesemi_like.learners.reductions import reduce_terms
from sesemi_like.models.heads.loss import PseudoLabelLossHead
from sesemi_like.models.heads.loss.parts import (
    AverageAlignment,
    LabelledTerm,
    Prediction,
    SharpenedTargets,
)
from sesemi_like.models.networks import Networks

WEAK, STRONG = ("unlabeled.weak", "classifier"), ("unlabeled.strong", "classifier")
IMAGE, LEARNED = ("supervised.image", "classifier"), ("supervised.strong", "classifier")
THRESHOLD = 0.75


def views(labelled: int = 5, seed: int = 0) -> dict[Any, Tensor]:
    """Logits of four classes for seven unlabeled rows and for labeled ones."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(rows: int) -> Tensor:
        return torch.randn(rows, 4, generator=generator, dtype=torch.float64)

    given = {WEAK: 3 * drawn(7), STRONG: drawn(7), IMAGE: 3 * drawn(labelled)}
    given[LEARNED] = drawn(labelled)
    given = {key: value.requires_grad_() for key, value in given.items()}
    return {**given, "supervised.target": torch.zeros(labelled, dtype=torch.int64)}


def head(**settings: Any) -> PseudoLabelLossHead:
    return PseudoLabelLossHead(policy=THRESHOLD, terms={"labelled": LabelledTerm()}, **settings)


def of_views(given: dict[Any, Tensor], weak: Any, strong: Any) -> float:
    """FixMatch's loss of two views."""
    return fixmatch(given[weak].detach().numpy(), given[strong].detach().numpy(), THRESHOLD)


@pytest.mark.parametrize("labelled", [5, 1])
def test_it_is_the_same_loss_on_labelled_rows(play: Callable[..., Any], labelled: int) -> None:
    given = views(labelled)
    reduced = reduce_terms(play(head(), given), "mean")
    own = of_views(given, WEAK, STRONG)
    theirs = of_views(given, IMAGE, LEARNED)
    assert reduced.terms["labelled"].item() == pytest.approx(theirs)
    assert reduced.loss.item() == pytest.approx(own - theirs)


def test_rows_without_a_label_are_left_out(play: Callable[..., Any]) -> None:
    given = views()
    given["supervised.target"][[1, 3]] = -1
    found = reduce_terms(play(head(), given), "mean").terms["labelled"].item()
    labelled = {key: given[key][[0, 2, 4]] for key in (IMAGE, LEARNED)}
    assert found == pytest.approx(of_views(labelled, IMAGE, LEARNED))


def test_gradients_reach_the_strong_view_of_sure_rows_alone(play: Callable[..., Any]) -> None:
    given = views(9)
    reduce_terms(play(head(), given), "mean").terms["labelled"].backward()
    assert all(given[key].grad is None for key in (WEAK, STRONG, IMAGE))
    sure = given[IMAGE].softmax(dim=1).amax(dim=1) >= THRESHOLD
    assert 0 < sure.sum() < len(sure)
    assert torch.equal(given[LEARNED].grad.any(dim=1), sure)


@pytest.mark.parametrize("loss", ["cross_entropy", "kl", "mse"])
def test_it_has_the_targets_the_loss_and_the_alignment_of_the_head(
    play: Callable[..., Any], loss: str
) -> None:
    alignment = AverageAlignment()
    found = head(loss=loss, targets=SharpenedTargets(0.5), alignment=alignment).double()
    found.build(Networks({"classifier": FourClasses()}), None)
    for seed in range(3):
        given = views(seed=seed)
        term = play(found, given).terms["labelled"]
        prediction = Prediction(given[IMAGE].detach())
        aligned = alignment(prediction)
        targets = (aligned / 0.5).softmax(dim=1)
        expected = found.loss(alignment.of_learner(given[LEARNED]), targets)
        torch.testing.assert_close(term.losses, expected)
        sure = aligned.softmax(dim=1).amax(dim=1) >= THRESHOLD
        assert torch.equal(term.weights.bool(), sure)


class FourClasses(torch.nn.Module):
    num_classes = 4


def test_another_teacher_judges_labelled_rows_too(play: Callable[..., Any]) -> None:
    given = views()
    moved = {(key[0], "teacher"): given.pop(key) for key in (WEAK, IMAGE)}
    outputs = play(head(teacher="teacher"), {**given, **moved})
    assert len(outputs.terms["labelled"].losses) == 5


def test_a_step_without_labelled_rows_gives_a_zero_in_the_graph(play: Callable[..., Any]) -> None:
    given = views(labelled=0)
    loss = reduce_terms(play(head(), given), "mean").loss
    loss.backward()
    assert loss.item() == pytest.approx(of_views(given, WEAK, STRONG))
