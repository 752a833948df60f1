"""A classifier of rows with a projector, and batches, for heads that look at embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sesemi_like.config.facts import DataFacts
from sesemi_like.learners import Learner, LossTerm
from sesemi_like.learners.reductions import reduce_terms
from sesemi_like.models.ema import EMATeacher
from sesemi_like.models.heads.loss import LossHead, LossOutputs, Step
from sesemi_like.models.networks import ClassificationNetwork, Networks

CLASSES, FEATURES, EMBEDDED, LABELED = 3, 4, 2, 3
INDICES = 6
FIELDS = {
    "unlabeled": {"weak", "strong", "strong_2", "index"},
    "supervised": {"image", "target", "index"},
}


class SameRows(nn.Module):
    """A backbone whose features are the rows it is given."""

    out_features = FEATURES

    def forward(self, rows: Tensor) -> Tensor:
        return rows


class Embedding(Learner):
    """Trains a head on rows (N, FEATURES)."""

    def __init__(self, head: LossHead, **settings: Any) -> None:
        self._given = [head]
        indices = {"train.supervised": INDICES - 1, "train.unlabeled": 9}
        facts = DataFacts(largest_index=indices)
        super().__init__(settings, facts)
        self.make_plan(FIELDS)
        self.train()

    @property
    def head(self) -> Any:
        return self.terms["head"].head

    def build_networks(self) -> Networks:
        torch.manual_seed(0)
        layer = nn.Linear(FEATURES, CLASSES)
        network = ClassificationNetwork(SameRows(), layer)
        projector = nn.Linear(FEATURES, EMBEDDED)
        built = {"classifier": network, "projector": projector}
        nn.init.normal_(layer.weight)
        teachers = {"teacher": EMATeacher(network), "slow_projector": EMATeacher(projector)}
        with torch.no_grad():
            for teacher in teachers.values():
                for parameter in teacher.parameters():
                    parameter.add_(0.3)
        return Networks({**built, **teachers})

    def build_terms(self) -> dict[str, LossTerm]:
        return {"head": LossTerm(self._given[0])}

    def step(self, number: int, epoch: int = 0) -> Step:
        """Where training stands."""
        return Step(number, None, self.networks, {}, epoch, seed=number)

    def step_at(self, batch: dict[str, Tensor], number: int, epoch: int = 0) -> Tensor:
        """The reduced loss of a step."""
        return reduce_terms(one_step(self, batch, number, epoch), "mean").loss


def one_step(
    learner: Embedding, batch: dict[str, Tensor], number: int, epoch: int = 0
) -> LossOutputs:
    """What the head returns in a step, which moves its state."""
    assert learner.plan is not None
    outputs = learner.plan.run(batch, seed=number)["head"]
    step = learner.step(number, epoch)
    losses: LossOutputs = learner.head(outputs, step)
    learner.head.after_step(step)
    return losses


def batches(steps: int, rows: int, dtype: torch.dtype = torch.float64) -> list[dict[str, Tensor]]:
    """Batches of unlabeled rows and LABELED others, of which some have no label."""
    generator = torch.Generator().manual_seed(3)
    made = []
    for _ in range(steps):
        views = ("weak", "strong", "strong_2")
        drawn = {
            f"unlabeled.{view}": torch.randn(rows, FEATURES, generator=generator, dtype=dtype)
            for view in views
        }
        labeled = torch.randn(LABELED, FEATURES, generator=generator, dtype=dtype)
        target = torch.randint(-1, CLASSES, (LABELED,), generator=generator)
        index = torch.randint(INDICES, (LABELED,), generator=generator)
        drawn |= {"supervised.image": labeled, "supervised.target": target}
        made.append(drawn | {"supervised.index": index, "unlabeled.index": torch.arange(rows)})
    return made


def split(batch: dict[str, Tensor], rank: int, cut: int) -> dict[str, Tensor]:
    """The rows of one of two processes: the first has `cut` unlabeled rows, and a labeled one."""
    ends = {"unlabeled": cut, "supervised": 1}
    return {
        name: rows[: ends[name.partition(".")[0]]]
        if rank == 0
        else rows[ends[name.partition(".")[0]] :]
        for name, rows in batch.items()
    }


def sent(
    learner: Embedding, batch: dict[str, Tensor], view: str, by: str = "own"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logits and embeddings of a view, by NumPy, of the network itself or of its teacher."""
    rows = batch[f"supervised.{view}" if view == "image" else f"unlabeled.{view}"]
    networks: Any = learner.networks.modules_by_name
    network, projector = networks["classifier"], networks["projector"]
    if by == "teacher":
        network, projector = networks["teacher"].module, networks["slow_projector"].module
    found = [
        rows.detach().numpy() @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        for layer in (network.head, projector)
    ]
    return found[0], found[1]
