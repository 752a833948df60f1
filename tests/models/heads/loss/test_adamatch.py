"""AdaMatch's config against its algorithm in NumPy: several steps of a network with BatchNorm.

The draws U are read off the answered logits; what lies between two forwards is tested by
`parts/test_interpolation.py`.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from composing import composed
from parts_playing import FACTS
from references import losses as reference
from references.alignments import aligned, running_averages
from references.selection import adamatch_threshold
from torch import Tensor, nn

from sesemi_like.config.instantiate import instantiate
from sesemi_like.config.resolvers import AppAttributes, app_attributes
from sesemi_like.learners.forwards import ForwardPlan
from sesemi_like.learners.reductions import reduce_terms
from sesemi_like.models.heads.loss import LossHead, Step, SupervisedLossHead
from sesemi_like.models.heads.loss.parts import INTERPOLATE, interpolate_logits
from sesemi_like.models.networks import Networks

MODEL = "learner.hparams.model"
CLASSES = 4
SIZES = {
    "supervised.image": 7,
    "supervised.strong": 7,
    "unlabeled.weak": 20,
    "unlabeled.strong": 20,
}


@pytest.fixture(autouse=True)
def a_run() -> Iterator[None]:
    with app_attributes(AppAttributes(5, 100, num_gpus=0, num_nodes=1)):
        yield


@cache
def model() -> Any:
    return composed("quickstart", "method=adamatch").learner.hparams.model


class Net(nn.Module):
    """A classifier whose rows see each other by BatchNorm."""

    num_classes = CLASSES

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.linear = nn.BatchNorm1d(6), nn.Linear(6, CLASSES)

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        return {"logits": 3 * self.linear(self.norm(rows))}


class AdaMatch:
    """The two heads of the config, with a network of their own, step by step."""

    def __init__(self) -> None:
        self.networks = Networks({"classifier": Net().double()})
        loss = model().supervised_loss
        supervised = SupervisedLossHead(
            nn.CrossEntropyLoss(), views=list(loss.views), interpolated=loss.interpolated
        )
        config = model().regularization_loss_heads.adamatch
        head = instantiate(config.head, key=f"{MODEL}.regularization_loss_heads.adamatch.head")
        self.heads: dict[str, LossHead] = {"supervised": supervised, "adamatch": head}
        for each in self.heads.values():
            each.build(self.networks, FACTS)
            each.double()
        self.plan = ForwardPlan(
            {name: each.forwards({}) for name, each in self.heads.items()},
            self.networks,
            heads=self.heads,
            functions={INTERPOLATE: interpolate_logits},
            together=model().forward == "together",
        )

    def step(self, number: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Everything that was answered in a step, and the reduced losses."""
        outputs = self.plan.run(batch_of(number), number)
        step = Step(number, 100, self.networks, {})
        losses = {
            name: reduce_terms(each(outputs[name], step), "mean").loss
            for name, each in self.heads.items()
        }
        return outputs, losses


def batch_of(number: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(number)
    rows = {
        name: torch.randn(n, 6, generator=generator).double() * (1 + i)
        for i, (name, n) in enumerate(SIZES.items())
    }
    return rows | {"supervised.target": torch.tensor([0, 1, 2, 3, 0, 1, -1])}


def logits_of(number: int) -> dict[str, Any]:
    """The logits of all rows run together, in NumPy."""
    batch, net = batch_of(number), Net().double()
    rows = {name: batch[name].numpy() for name in SIZES}
    everything = np.concatenate(list(rows.values()))
    weight, bias = net.linear.weight.detach().numpy(), net.linear.bias.detach().numpy()
    scale = np.sqrt(everything.var(axis=0) + 1e-5)
    return {
        name: 3 * ((own - everything.mean(axis=0)) / scale @ weight.T + bias)
        for name, own in rows.items()
    }


def test_it_is_the_papers_algorithm() -> None:
    adamatch = AdaMatch()
    target = batch_of(0)["supervised.target"].numpy()
    labeled, queue = [], [np.full(CLASSES, 1 / CLASSES)] * 128
    shares = []
    for number in range(6):
        outputs, losses = adamatch.step(number)
        drawn = {
            view: outputs["supervised"][f"drawn.{view}"]["logits"].detach().numpy()
            for view in ("image", "strong")
        }
        logits = logits_of(number)
        labeled.append(reference.softmax(drawn["image"])[target >= 0])
        weak = reference.softmax(logits["unlabeled.weak"])
        queue = [*queue, weak.mean(axis=0)][-128:]
        average = running_averages(labeled, 0.999, [1 / CLASSES] * CLASSES)[-1]
        judged = aligned(weak, average, sum(queue) / 128)
        threshold = adamatch_threshold(drawn["image"], target, 0.9)
        mask = judged.max(axis=1) >= threshold
        assert np.abs(judged.max(axis=1) - threshold).min() > 1e-5
        hard = reference.one_hot(judged.argmax(axis=1), CLASSES)
        unlabeled = reference.cross_entropy(hard, logits["unlabeled.strong"]) * mask
        assert losses["adamatch"].item() == pytest.approx(unlabeled.mean(), rel=1e-5)
        both = [
            np.mean([-np.log(p[y]) for p, y in zip(rows, target, strict=True) if y >= 0])
            for rows in (reference.softmax(drawn[view]) for view in drawn)
        ]
        assert losses["supervised"].item() == pytest.approx(np.mean(both), rel=1e-9)
        shares.append(mask.mean())
    assert 0 < np.mean(shares) < 1


def test_gradients_flow_through_learned_rows_alone() -> None:
    adamatch = AdaMatch()
    batch = {name: rows.requires_grad_(name in SIZES) for name, rows in batch_of(0).items()}
    outputs = adamatch.plan.run(batch, 0)
    head = adamatch.heads["adamatch"]
    losses = head(outputs["adamatch"], Step(0, 100, adamatch.networks, {}))
    assert not outputs["adamatch"]["judged"]["targets"].requires_grad
    assert not any(value.requires_grad for value in head.buffers())
    learner = outputs["adamatch"]["learner"]["logits"]
    (found,) = torch.autograd.grad(reduce_terms(losses, "mean").loss, learner)
    weights = outputs["adamatch"]["judged"]["weights"]
    assert ((found.abs().sum(dim=1) > 0) == (weights > 0)).all()


def test_its_weight_is_half_a_cosine_over_half_of_the_run() -> None:
    config = model().regularization_loss_heads.adamatch
    schedule = instantiate(config.scheduler, key="scheduler")
    for step in range(0, 101, 5):
        expected = 0.5 - np.cos(min(np.pi, 2 * np.pi * step / 100)) / 2
        assert config.scale_factor * schedule(step) == pytest.approx(expected)
