"""FixMatch against equation 4 in NumPy; masks by hand; who gets gradients."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from references import losses as reference

from sesemi_like.learners.reductions import reduce_losses
from sesemi_like.models.heads.loss import FixMatchLossHead
from sesemi_like.models.heads.loss.parts import SharpenedTargets

# Probabilities of the weak view: 0.98 for class 0, a tie, 0.96 for class 2, 0.90 for class 1.
WEAK = torch.tensor(
    [[0.98, 0.01, 0.01], [0.4, 0.4, 0.2], [0.02, 0.02, 0.96], [0.05, 0.90, 0.05]]
).log()
STRONG = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [2.0, 0.0, -1.0], [0.5, 0.0, 1.0]])


def views(
    weak: torch.Tensor = WEAK, strong: torch.Tensor = STRONG, teacher: str = "classifier"
) -> dict[tuple[str, str], torch.Tensor]:
    return {("unlabeled.weak", teacher): weak, ("unlabeled.strong", "classifier"): strong}


def test_masked_rows_by_hand(play: Callable[..., Any]) -> None:
    outputs = play(FixMatchLossHead(), views())
    assert outputs.weights.tolist() == [1, 0, 1, 0]
    probabilities = reference.softmax(STRONG.numpy())
    np.testing.assert_allclose(outputs.losses[0], -np.log(probabilities[0, 0]), rtol=1e-5)
    np.testing.assert_allclose(outputs.losses[2], -np.log(probabilities[2, 2]), rtol=1e-5)
    assert outputs.metrics["mask_rate"].item() == 0.5
    assert outputs.metrics["confidence"].item() == pytest.approx((0.98 + 0.4 + 0.96 + 0.9) / 4)


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.95, 1.0])
def test_mean_is_the_papers_equation(play: Callable[..., Any], threshold: float) -> None:
    torch.manual_seed(1)
    weak, strong = 3 * torch.randn(32, 5), torch.randn(32, 5)
    outputs = play(FixMatchLossHead(threshold=threshold), views(weak, strong))
    expected = reference.fixmatch(weak.numpy(), strong.numpy(), threshold)
    assert reduce_losses(outputs, "mean").item() == pytest.approx(expected, rel=1e-4)


def test_weighted_mean_divides_by_the_confident_rows(play: Callable[..., Any]) -> None:
    outputs = play(FixMatchLossHead(), views())
    both = [outputs.losses[0].item(), outputs.losses[2].item()]
    assert reduce_losses(outputs, "weighted_mean").item() == pytest.approx(sum(both) / 2)
    assert reduce_losses(outputs, "mean").item() == pytest.approx(sum(both) / 4)


@pytest.mark.parametrize("targets", [None, SharpenedTargets()])
def test_only_confident_strong_rows_get_gradients(
    play: Callable[..., Any], targets: SharpenedTargets | None
) -> None:
    weak, strong = WEAK.clone().requires_grad_(), STRONG.clone().requires_grad_()
    outputs = play(FixMatchLossHead(targets=targets), views(weak, strong))
    reduce_losses(outputs, "mean").backward()
    assert weak.grad is None
    assert [bool(row.any()) for row in strong.grad] == [True, False, True, False]


@pytest.mark.parametrize("reduction", ["mean", "weighted_mean", "sum"])
def test_nothing_confident_gives_a_zero_in_the_graph(
    play: Callable[..., Any], reduction: str
) -> None:
    strong = STRONG.clone().requires_grad_()
    outputs = play(FixMatchLossHead(), views(torch.zeros(4, 3), strong))
    loss = reduce_losses(outputs, reduction)
    loss.backward()
    assert loss.item() == 0
    assert strong.grad.abs().sum().item() == 0


def test_a_teacher_may_make_the_pseudo_labels(play: Callable[..., Any]) -> None:
    outputs = play(FixMatchLossHead(teacher="teacher"), views(teacher="teacher"))
    assert outputs.weights.tolist() == [1, 0, 1, 0]


def test_sharpened_targets_replace_the_hard_ones(play: Callable[..., Any]) -> None:
    outputs = play(FixMatchLossHead(targets=SharpenedTargets(0.5)), views())
    squares = reference.softmax(WEAK.numpy()) ** 2
    target = squares / squares.sum(axis=1, keepdims=True)
    expected = reference.cross_entropy(target, STRONG.numpy())
    np.testing.assert_allclose(outputs.losses, expected, rtol=1e-4)


def test_the_threshold_is_a_part(play: Callable[..., Any]) -> None:
    class Everything(torch.nn.Module):
        def forward(self, probabilities: torch.Tensor) -> torch.Tensor:
            return torch.full((len(probabilities),), 0.25)

    outputs = play(FixMatchLossHead(threshold=Everything()), views())
    assert outputs.weights.tolist() == [0.25] * 4
    assert outputs.metrics["mask_rate"].item() == 0.25


def test_a_threshold_outside_zero_to_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"threshold: found 95; .*\[0, 1\]"):
        FixMatchLossHead(threshold=95)
