"""The Pi-model's and Mean Teacher's losses against NumPy; who gets gradients."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from references import losses as reference
from torch import nn

from sesemi_like.learners.forwards import ForwardPlan
from sesemi_like.learners.reductions import reduce_losses
from sesemi_like.models.ema import EMATeacher
from sesemi_like.models.heads.loss import ConsistencyLossHead, Forward, MeanTeacherLossHead
from sesemi_like.models.networks import Networks

FIRST = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.0, 1.0]])
SECOND = torch.tensor([[1.0, 0.5, 0.0], [0.0, 2.0, 1.0]])
DISTANCES = {"mse": reference.squared_difference, "kl": reference.kullback_leibler}


def pair(
    first: torch.Tensor = FIRST, second: torch.Tensor = SECOND, target_network: str = "classifier"
) -> dict[tuple[str, str], torch.Tensor]:
    return {
        ("unlabeled.weak", "classifier"): first,
        ("unlabeled.weak_2", target_network): second,
    }


@pytest.mark.parametrize("distance", DISTANCES)
def test_consistency_by_the_equation(play: Callable[..., Any], distance: str) -> None:
    outputs = play(ConsistencyLossHead(distance=distance), pair())
    expected = DISTANCES[distance](FIRST.numpy(), SECOND.numpy())
    np.testing.assert_allclose(outputs.losses, expected, rtol=1e-5)
    assert outputs.metrics["agreement"].item() == 0.5


def test_the_pi_models_mean_is_over_rows_and_classes(play: Callable[..., Any]) -> None:
    outputs = play(ConsistencyLossHead(), pair())
    difference = reference.softmax(FIRST.numpy()) - reference.softmax(SECOND.numpy())
    expected = (difference**2).sum() / (2 * 3)
    assert reduce_losses(outputs, "mean").item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("distance", DISTANCES)
def test_mean_teacher_by_the_equation(play: Callable[..., Any], distance: str) -> None:
    outputs = play(MeanTeacherLossHead(distance=distance), pair(target_network="teacher"))
    expected = DISTANCES[distance](FIRST.numpy(), SECOND.numpy())
    np.testing.assert_allclose(outputs.losses, expected, rtol=1e-5)
    assert reduce_losses(outputs, "mean").item() == pytest.approx(expected.mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("head", "target_network", "target_learns"),
    [
        (ConsistencyLossHead(), "classifier", True),
        (ConsistencyLossHead(target_grad=False), "classifier", False),
        (MeanTeacherLossHead(), "teacher", False),
    ],
)
def test_who_gets_gradients(
    play: Callable[..., Any],
    head: ConsistencyLossHead | MeanTeacherLossHead,
    target_network: str,
    target_learns: bool,
) -> None:
    first, second = FIRST.clone().requires_grad_(), SECOND.clone().requires_grad_()
    play(head, pair(first, second, target_network)).losses.sum().backward()
    assert first.grad.abs().sum() > 0
    assert (second.grad is not None) == target_learns


def test_equal_views_cost_nothing(play: Callable[..., Any]) -> None:
    for distance in DISTANCES:
        outputs = play(ConsistencyLossHead(distance=distance), pair(FIRST, FIRST))
        np.testing.assert_allclose(outputs.losses, 0, atol=1e-7)
        assert outputs.metrics["agreement"].item() == 1


def test_views_networks_and_distance_are_chosen(play: Callable[..., Any]) -> None:
    head = MeanTeacherLossHead(
        "rest", "strong", "weak", lambda z, t: (z - t).abs().sum(1), "student", "average"
    )
    outputs = play(head, {("rest.strong", "student"): FIRST, ("rest.weak", "average"): SECOND})
    assert outputs.losses.tolist() == [2.5, 2.5]


def test_an_unknown_distance_proposes_the_near_one() -> None:
    with pytest.raises(ValueError, match="distance: found 'mes'; did you mean 'mse'"):
        ConsistencyLossHead(distance="mes")


LABELED = torch.tensor([[0.0, 1.0, 3.0]])
LABELED_TARGET = torch.tensor([[2.0, 1.0, 0.0]])


def test_labeled_rows_take_part_after_the_others(play: Callable[..., Any]) -> None:
    head = MeanTeacherLossHead(labelled_data="supervised")
    labeled = {
        ("supervised.image", "classifier"): LABELED,
        ("supervised.weak_2", "teacher"): LABELED_TARGET,
    }
    outputs = play(head, pair(target_network="teacher") | labeled)
    first, second = (torch.cat(x).numpy() for x in ((FIRST, LABELED), (SECOND, LABELED_TARGET)))
    expected = reference.squared_difference(first, second)
    np.testing.assert_allclose(outputs.losses, expected, rtol=1e-5)
    assert reduce_losses(outputs, "mean").item() == pytest.approx(expected.sum() / 3, rel=1e-5)
    assert outputs.metrics["agreement"].item() == pytest.approx(1 / 3)


def test_the_labeled_forward_is_that_of_the_supervised_loss() -> None:
    head = ConsistencyLossHead(
        first_norm="batch", second_norm="eval", labelled_data="few", labelled_second="again"
    )
    asked = head.forwards({})
    assert asked["labelled.first"] == Forward("few.image")
    assert asked["labelled.second"] == Forward("few.again", norm="eval")
    assert {asked["first"].norm, asked["second"].norm} == {"batch", "eval"}


class NormedNetwork(nn.Module):
    """Answers rows (N, 3) normalized over the batch as logits."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3, affine=False)

    def forward(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.norm(rows)}


@pytest.mark.parametrize(("student_norm", "moves"), [("update", True), ("batch", False)])
def test_the_teacher_normalizes_by_its_batch_and_who_moves_statistics_is_chosen(
    student_norm: Any, moves: bool
) -> None:
    head = MeanTeacherLossHead(student_norm=student_norm, teacher_norm="batch")
    student = NormedNetwork()
    networks = Networks({"classifier": student, "teacher": EMATeacher(student)}).train()
    plan = ForwardPlan({"head": head.forwards({})}, networks)
    weak, weak_2 = 5 + 2 * torch.randn(2, 8, 3, generator=torch.Generator().manual_seed(0))
    outputs = plan.run({"unlabeled.weak": weak, "unlabeled.weak_2": weak_2})["head"]
    found = outputs["second"]["logits"].numpy()
    by_hand = (weak_2.numpy() - weak_2.numpy().mean(0)) / np.sqrt(weak_2.numpy().var(0) + 1e-5)
    np.testing.assert_allclose(found, by_hand, rtol=1e-4, atol=1e-5)
    assert bool(student.norm.running_mean.abs().sum() > 0) == moves
    teacher: Any = networks.module("teacher")
    assert not teacher.module.norm.running_mean.any()
