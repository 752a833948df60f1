"""Rotation and jigsaw prediction against NumPy cross-entropy on the head's own linear layer."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from references import losses as reference
from torch import nn

from sesemi_like.config.facts import DataFacts
from sesemi_like.learners.reductions import reduce_losses
from sesemi_like.models.heads.loss import JigsawPredictionLossHead, RotationPredictionLossHead
from sesemi_like.models.networks import Networks

HEADS = [(RotationPredictionLossHead, 4), (JigsawPredictionLossHead, 24)]


class Encoder(nn.Module):
    out_features = 5


def built(kind: type[Any], **settings: int) -> Any:
    head = kind("unlabeled.task", **settings)
    head.build(Networks({"classifier": Encoder()}, aliases={"backbone": "classifier"}), DataFacts())
    return head


def batch(classes: int, features: torch.Tensor) -> dict[Any, Any]:
    return {
        ("unlabeled.task.image", "backbone"): {"features": features},
        "unlabeled.task.target": torch.arange(len(features)) % classes,
    }


@pytest.mark.parametrize(("kind", "classes"), HEADS)
def test_mean_cross_entropy_of_a_linear_layer_on_the_features(
    play: Callable[..., Any], kind: type[Any], classes: int
) -> None:
    torch.manual_seed(0)
    head, features = built(kind), torch.randn(30, 5)
    outputs = play(head, batch(classes, features))
    weight, bias = (p.detach().numpy() for p in head.classifier.parameters())
    logits = features.numpy() @ weight.T + bias
    target = np.arange(30) % classes
    expected = reference.cross_entropy(reference.one_hot(target, classes), logits)
    np.testing.assert_allclose(outputs.losses.detach(), expected, rtol=1e-4)
    assert reduce_losses(outputs, "mean").item() == pytest.approx(expected.mean(), rel=1e-4)
    hits = [int(np.argmax(row) == t) for row, t in zip(logits, target, strict=True)]
    assert outputs.metrics["top1"].item() == pytest.approx(np.mean(hits))


@pytest.mark.parametrize(("kind", "classes"), HEADS)
def test_gradients_reach_the_features_and_the_own_layer(
    play: Callable[..., Any], kind: type[Any], classes: int
) -> None:
    head, features = built(kind), torch.randn(6, 5, requires_grad=True)
    play(head, batch(classes, features)).losses.sum().backward()
    gradients = [features.grad, *(p.grad for p in head.parameters())]
    assert len(gradients) == 3
    assert all(gradient.abs().sum() > 0 for gradient in gradients)


def test_the_number_of_classes_is_a_setting() -> None:
    assert built(RotationPredictionLossHead, num_rotations=2).classifier.out_features == 2
    assert built(JigsawPredictionLossHead, num_permutations=100).classifier.out_features == 100


@pytest.mark.parametrize("setting", [{"num_rotations": 1}, {"num_rotations": 0}])
def test_a_task_needs_two_classes(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs at least 2"):
        RotationPredictionLossHead("unlabeled.rotation", **setting)


def test_learns_to_tell_what_the_features_show(play: Callable[..., Any]) -> None:
    head = built(RotationPredictionLossHead)
    optimizer = torch.optim.SGD(head.parameters(), lr=1.0)
    features = torch.eye(5)[torch.arange(16) % 4]
    for _ in range(50):
        outputs = play(head, batch(4, features))
        optimizer.zero_grad()
        outputs.losses.mean().backward()
        optimizer.step()
    assert outputs.metrics["top1"].item() == 1
    assert outputs.losses.mean().item() < 0.2


def test_logits_are_computed_in_float32_in_half_precision(play: Callable[..., Any]) -> None:
    features = torch.randn(8, 5).bfloat16()
    head = built(RotationPredictionLossHead)
    outputs_by_request = {"image": {"features": features}, "target": torch.arange(8) % 4}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = head(outputs_by_request, None).losses
    expected = reference.cross_entropy(
        np.eye(4)[np.arange(8) % 4], head.classifier(features.float()).detach().numpy()
    )
    np.testing.assert_allclose(losses.detach(), expected, rtol=1e-5)


def test_a_hidden_layer_lies_before_the_last_one_on_request(play: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    head = built(RotationPredictionLossHead, hidden_layers=1)
    features = torch.randn(8, 5)
    outputs = play(head, batch(4, features))
    first, first_bias, last, last_bias = (p.detach().numpy() for p in head.parameters())
    assert first.shape == (5, 5)
    hidden = np.maximum(0, features.numpy() @ first.T + first_bias)
    target = reference.one_hot(np.arange(8) % 4, 4)
    expected = reference.cross_entropy(target, hidden @ last.T + last_bias)
    np.testing.assert_allclose(outputs.losses.detach(), expected, rtol=1e-4)


def test_without_hidden_layers_its_parameters_keep_their_names() -> None:
    head = built(RotationPredictionLossHead)
    assert set(head.state_dict()) == {"classifier.weight", "classifier.bias"}


def test_fewer_than_no_hidden_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="hidden_layers: found -1; needs 0 or more"):
        RotationPredictionLossHead("unlabeled.rotation", hidden_layers=-1)
