"""The supervised head against NumPy cross-entropy and torch's weighted loss."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from references import losses as reference
from torch import nn

from sesemi_like.learners.reductions import reduce_losses, reduce_terms
from sesemi_like.models.heads.loss import SupervisedLossHead

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.0, 1.0], [0.0, 3.0, 0.0], [1.0, 1.0, 0.0]])
TARGET = torch.tensor([0, -1, 1, 2])


def batch(logits: torch.Tensor = LOGITS, target: torch.Tensor = TARGET) -> dict[Any, torch.Tensor]:
    return {("supervised.image", "classifier"): logits, "supervised.target": target}


def test_one_loss_per_row_and_zero_without_a_label(play: Callable[..., Any]) -> None:
    outputs = play(SupervisedLossHead(nn.CrossEntropyLoss()), batch())
    labeled = [0, 2, 3]
    expected = reference.cross_entropy(
        reference.one_hot(TARGET[labeled], 3), LOGITS[labeled].numpy()
    )
    np.testing.assert_allclose(outputs.losses[labeled], expected, rtol=1e-5)
    assert outputs.losses[1] == 0
    assert outputs.count == 3
    assert outputs.weights is None
    assert outputs.metrics["top1"].item() == pytest.approx(2 / 3)


def test_mean_divides_by_the_labeled_rows_alone(play: Callable[..., Any]) -> None:
    outputs = play(SupervisedLossHead(nn.CrossEntropyLoss()), batch())
    expected = nn.functional.cross_entropy(LOGITS, TARGET, ignore_index=-1)
    torch.testing.assert_close(reduce_losses(outputs, "mean"), expected)


def test_weighted_mean_is_torchs_weighted_loss(play: Callable[..., Any]) -> None:
    weights = [0.5, 1.0, 4.0]
    outputs = play(SupervisedLossHead(nn.CrossEntropyLoss(), class_weights=weights), batch())
    expected = nn.functional.cross_entropy(
        LOGITS, TARGET, weight=torch.tensor(weights), ignore_index=-1
    )
    torch.testing.assert_close(reduce_losses(outputs, "weighted_mean"), expected)


def test_label_smoothing_comes_with_the_callable(play: Callable[..., Any]) -> None:
    outputs = play(SupervisedLossHead(nn.CrossEntropyLoss(label_smoothing=0.3)), batch())
    smooth = reference.one_hot(TARGET[[0, 2, 3]], 3) * 0.7 + 0.1
    expected = reference.cross_entropy(smooth, LOGITS[[0, 2, 3]].numpy())
    np.testing.assert_allclose(outputs.losses[[0, 2, 3]], expected, rtol=1e-5)


def test_unlabeled_rows_get_no_gradient(play: Callable[..., Any]) -> None:
    logits = LOGITS.clone().requires_grad_()
    play(SupervisedLossHead(nn.CrossEntropyLoss()), batch(logits)).losses.sum().backward()
    assert logits.grad[1].tolist() == [0, 0, 0]
    assert (logits.grad[[0, 2, 3]] != 0).all()


@pytest.mark.parametrize("class_weights", [None, [1.0, 2.0, 3.0]])
@pytest.mark.parametrize("reduction", ["mean", "weighted_mean", "sum"])
def test_no_labels_give_a_zero_in_the_graph(
    play: Callable[..., Any], class_weights: list[float] | None, reduction: str
) -> None:
    logits = LOGITS.clone().requires_grad_()
    head = SupervisedLossHead(nn.CrossEntropyLoss(), class_weights)
    outputs = play(head, batch(logits, torch.full((4,), -1)))
    loss = reduce_losses(outputs, reduction)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().sum().item() == 0
    assert outputs.metrics["top1"].isnan()


def test_any_function_with_one_loss_per_row_will_do(play: Callable[..., Any]) -> None:
    def margin(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return nn.functional.multi_margin_loss(logits, target, reduction="none")

    outputs = play(SupervisedLossHead(margin), batch())
    # By hand, 1/3 sum over other classes of max(0, 1 - z_y + z_c).
    torch.testing.assert_close(outputs.losses, torch.tensor([0.0, 0.0, 0.0, (2.0 + 2.0) / 3]))


def elementwise(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return nn.functional.binary_cross_entropy_with_logits(
        logits, logits.sigmoid(), reduction="none"
    )


@pytest.mark.parametrize(
    ("criterion", "found"), [(nn.functional.cross_entropy, r"\(\)"), (elementwise, r"\(4, 3\)")]
)
def test_a_criterion_without_one_loss_per_row_is_refused(
    play: Callable[..., Any], criterion: Callable[..., Any], found: str
) -> None:
    with pytest.raises(ValueError, match=f"returned {found} for 4 rows; needs one loss per row"):
        play(SupervisedLossHead(criterion), batch())


def test_wrong_class_weights_are_named(play: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="2 weights for 3 classes"):
        play(SupervisedLossHead(nn.CrossEntropyLoss(), [1.0, 2.0]), batch())
    with pytest.raises(ValueError, match=r"class_weights: found \[-1\.0, 1\.0\]"):
        SupervisedLossHead(nn.CrossEntropyLoss(), [-1.0, 1.0])


def test_loader_and_network_are_chosen(play: Callable[..., Any]) -> None:
    head = SupervisedLossHead(nn.CrossEntropyLoss(), input_data="few", network="student")
    outputs_by_request = {("few.image", "student"): LOGITS, "few.target": TARGET}
    assert play(head, outputs_by_request).count == 3


def test_an_infinite_loss_of_an_unlabeled_row_does_not_count(play: Callable[..., Any]) -> None:
    logits = torch.tensor([[-torch.inf, 0, 0], [1, 2, 3]])
    outputs = play(SupervisedLossHead(nn.CrossEntropyLoss()), batch(logits, torch.tensor([-1, 2])))
    assert outputs.losses[0] == 0
    assert outputs.losses[1] == pytest.approx(np.log(1 + np.exp(-1) + np.exp(-2)), rel=1e-5)


def two_views(weak: torch.Tensor, strong: torch.Tensor) -> dict[Any, torch.Tensor]:
    views = {("few.weak", "classifier"): weak, ("few.strong", "classifier"): strong}
    return {**views, "few.kind": TARGET}


@pytest.mark.parametrize("reduction", ["mean", "weighted_mean", "sum"])
def test_several_views_lose_the_mean_of_what_each_loses_alone(
    play: Callable[..., Any], reduction: str
) -> None:
    def alone(logits: torch.Tensor) -> torch.Tensor:
        head = SupervisedLossHead(nn.CrossEntropyLoss(), [0.5, 1.0, 4.0])
        return reduce_losses(play(head, batch(logits)), reduction)

    weak, strong = LOGITS, LOGITS.roll(1, dims=1)
    head = SupervisedLossHead(
        nn.CrossEntropyLoss(), [0.5, 1.0, 4.0], "few", views=["weak", "strong"], target="kind"
    )
    outputs = play(head, two_views(weak, strong))
    expected = (alone(weak) + alone(strong)) / 2
    torch.testing.assert_close(reduce_losses(outputs, reduction), expected)
    assert list(reduce_terms(outputs, reduction).terms) == ["weak", "strong"]
    # Of the labeled rows 0, 2 and 3 the first view has 2 right and the other, by hand, none.
    assert outputs.metrics["top1"].item() == pytest.approx(2 / 6)


@pytest.mark.parametrize("views", [[], ["weak", "weak"]])
def test_views_are_given_once(views: list[str]) -> None:
    with pytest.raises(ValueError, match=r"views: found \[.*needs one at least, and each once"):
        SupervisedLossHead(nn.CrossEntropyLoss(), views=views)


def test_a_mask_weighs_labeled_rows(play: Callable[..., Any]) -> None:
    def mask(logits: torch.Tensor, target: torch.Tensor, step: Any) -> torch.Tensor:
        assert step.index == 0
        return torch.tensor([0.0, 1.0, 0.5, 1.0])

    every = nn.functional.cross_entropy(LOGITS, TARGET, ignore_index=-1, reduction="none")
    outputs = play(SupervisedLossHead(nn.CrossEntropyLoss(), mask=mask), batch())
    total = 0.5 * every[2] + every[3]
    torch.testing.assert_close(reduce_losses(outputs, "mean"), total / 3)
    torch.testing.assert_close(reduce_losses(outputs, "weighted_mean"), total / 1.5)
    weighted = SupervisedLossHead(nn.CrossEntropyLoss(), [1.0, 3.0, 1.0], mask=mask)
    both = reduce_losses(play(weighted, batch()), "sum")
    torch.testing.assert_close(both, 0.5 * 3 * every[2] + every[3])


def test_a_mask_that_gives_no_weight_a_row_is_refused(play: Callable[..., Any]) -> None:
    head = SupervisedLossHead(nn.CrossEntropyLoss(), mask=lambda logits, target, step: logits)
    with pytest.raises(ValueError, match=r"returned \(4, 3\) for 4 rows; needs one weight per row"):
        play(head, batch())
