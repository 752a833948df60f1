"""The distance of features against NumPy on its own layer; maps are kept on request alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from references.pseudo_labels import alikeness
from torch import Tensor, nn

from sesemi_like.config.facts import DataFacts
from sesemi_like.learners.forwards import ForwardPlan
from sesemi_like.learners.reductions import reduce_terms
from sesemi_like.models.backbones import SmallConvNet
from sesemi_like.models.heads.loss import PseudoLabelLossHead, Step
from sesemi_like.models.heads.loss.parts import FeatureDistanceTerm
from sesemi_like.models.networks import ClassificationNetwork, Networks

THRESHOLD = 0.6


class Flat(nn.Module):
    """A backbone without maps."""

    out_features = 6

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 6)

    def forward(self, images: Tensor) -> Tensor:
        return torch.tanh(self.layer(images.flatten(start_dim=1)))


def built(backbone: nn.Module, **settings: Any) -> tuple[PseudoLabelLossHead, Networks]:
    torch.manual_seed(0)
    classify = nn.Linear(6, 4)
    classify.weight.data.mul_(8)
    network = ClassificationNetwork(backbone, classify)
    networks = Networks({"classifier": network}).double()
    term = FeatureDistanceTerm(**settings)
    head = PseudoLabelLossHead(policy=THRESHOLD, terms={"distance": term})
    head.build(networks, DataFacts())
    return head.double(), networks


def small() -> SmallConvNet:
    return SmallConvNet(in_chans=1, widths=(4, 6))


def views(rows: int = 8) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(rows)
    weak, strong = torch.randn(2, rows, 1, 8, 8, generator=generator, dtype=torch.float64)
    return {"unlabeled.weak": weak, "unlabeled.strong": strong}


def run(head: Any, networks: Networks, batch: Mapping[str, Tensor]) -> tuple[Any, Any]:
    """The losses of the head, and what its requests were answered."""
    plan = ForwardPlan({"head": head.forwards({})}, networks, heads={"head": head})
    answers = plan.run(batch)["head"]
    return head(answers, Step(0, None, networks, {})), answers


@pytest.mark.parametrize("rows", [8, 2])
def test_it_is_how_alike_projected_maps_are(rows: int) -> None:
    head, networks = built(small(), grid=4)
    outputs, answers = run(head, networks, views(rows))
    weight, bias = (p.detach().numpy() for p in head.terms["distance"].parameters())
    maps = [answers[f"distance.{name}"]["map"].detach().numpy() for name in ("learner", "teacher")]
    assert maps[0].shape == (rows, 6, 4, 4)
    expected = alikeness(*(m.reshape(rows, -1) @ weight.T + bias for m in maps))
    term = outputs.terms["distance"]
    np.testing.assert_allclose(term.losses.detach(), expected, rtol=1e-9)
    assert torch.equal(term.weights, outputs.terms["pseudo_label"].weights)
    kept = term.weights.numpy()
    reduced = reduce_terms(outputs, "mean").terms["distance"].item()
    assert reduced == pytest.approx((expected * kept).sum() / rows)
    assert rows == 2 or 0 < kept.sum() < rows


def test_maps_of_another_size_are_averaged_to_the_grid() -> None:
    head, networks = built(small(), grid=2)
    _, answers = run(head, networks, views())
    assert answers["distance.learner"]["map"].shape[-2:] == (4, 4)
    weight = head.terms["distance"].get_parameter("layer.weight")
    assert weight.shape == (6, 6 * 4)


def test_a_backbone_without_maps_gives_its_features() -> None:
    head, networks = built(Flat())
    outputs, answers = run(head, networks, views())
    assert "map" not in answers["distance.learner"]
    weight, bias = (p.detach().numpy() for p in head.terms["distance"].parameters())
    learner, teacher = (
        answers[f"distance.{name}"]["features"].detach().numpy() @ weight.T + bias
        for name in ("learner", "teacher")
    )
    found = outputs.terms["distance"].losses.detach()
    np.testing.assert_allclose(found, alikeness(learner, teacher), rtol=1e-9)


def test_no_view_is_run_twice_and_maps_are_kept_on_request_alone() -> None:
    head, networks = built(small())
    calls = []
    networks.module("classifier").register_forward_hook(lambda *_: calls.append(1))
    run(head, networks, views())
    assert len(calls) == 2
    plain = ClassificationNetwork(small(), nn.Linear(6, 4))
    assert set(plain(torch.randn(2, 1, 8, 8))) == {"features", "logits"}


def test_answers_are_the_same_with_maps() -> None:
    network, images = (
        ClassificationNetwork(small(), nn.Linear(6, 4)).eval(),
        torch.randn(3, 1, 8, 8),
    )
    without = network(images)
    assert network.answer_maps()
    found = network(images)
    assert all(torch.equal(found[name], value) for name, value in without.items())
    assert torch.equal(found["map"].mean(dim=(2, 3)), found["features"])


def test_a_frozen_backbone_answers_no_maps() -> None:
    assert not ClassificationNetwork(SmallConvNet(freeze=True), nn.Identity()).answer_maps()


@pytest.mark.parametrize("teacher_grad", [True, False])
def test_gradients_flow_through_the_teachers_view_where_that_is_said(teacher_grad: bool) -> None:
    head, networks = built(small(), teacher_grad=teacher_grad)
    _, answers = run(head, networks, views())
    assert answers["distance.learner"]["map"].requires_grad
    assert answers["distance.teacher"]["map"].requires_grad == teacher_grad
    assert not answers["judged"]["logits"].requires_grad


def test_its_layer_learns() -> None:
    head, networks = built(small())
    outputs, _ = run(head, networks, views())
    reduce_terms(outputs, "mean").terms["distance"].backward()
    assert all(p.grad is not None for p in head.terms["distance"].parameters())


def test_no_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="grid: found 0; needs a number of pixels, 1 or more"):
        FeatureDistanceTerm(grid=0)
