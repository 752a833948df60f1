"""A fairness term over the mean of all processes' probabilities: two uneven ones learn as one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from processes import in_processes
from torch import Tensor, nn

from sesemi_like.distributed import all_sum, world_size
from sesemi_like.learners import Learner, LossTerm
from sesemi_like.learners.reductions import REDUCTIONS
from sesemi_like.models.heads.loss import Forward, LossHead, LossOutputs, LossValues
from sesemi_like.models.networks import Networks

ROWS = torch.randn(7, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
CUTS = (2, 6, 7)
"""How many of the rows fall on the first process."""


class FairLossHead(LossHead):
    """Confident rows learn their own class; classes are equally frequent (me-max, FreeMatch)."""

    def forwards(self, fields: Any) -> Any:
        return {"answer": Forward("unlabeled.vector", "classifier")}

    def forward(self, outputs: Any, step: Any) -> LossOutputs:
        logits = outputs["answer"]
        p = logits.softmax(dim=1)
        rows = all_sum(logits.new_tensor(len(logits)))
        mean = all_sum(p.sum(dim=0)) / rows
        negative_entropy = (mean * mean.log()).sum()
        is_sure = (p.amax(dim=1) > 0.35).to(p.dtype)
        own = F.cross_entropy(logits, logits.argmax(dim=1), reduction="none")
        fairness = LossValues(negative_entropy, coefficient=0.3, reduced=True)
        return LossOutputs({"own": LossValues(own, weights=is_sure), "fairness": fairness})


class FairLearner(Learner):
    def build_networks(self) -> Networks:
        torch.manual_seed(0)
        layers = (nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 4))
        return Networks({"classifier": nn.Sequential(*layers)})

    def build_terms(self) -> dict[str, LossTerm]:
        reduction = self.settings.get("reduction", "mean")
        return {"fair": LossTerm(FairLossHead(), reduction=reduction, scale_factor=2.0)}


def loss_and_gradient(rows: Tensor, reduction: str = "mean") -> list[list[float]]:
    """Loss and gradient, averaged over processes as DDP does."""
    learner = FairLearner({"reduction": reduction}).double()
    learner.make_plan({"unlabeled": {"vector"}})
    loss = learner.training_step({"unlabeled.vector": rows}, 0)
    loss.backward()
    parts = [loss.detach(), *(p.grad for p in learner.parameters() if p.grad is not None)]
    return [(all_sum(part) / world_size()).flatten().tolist() for part in parts]


def write(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo")
    own = [ROWS[:cut] if rank == 0 else ROWS[cut:] for cut in CUTS]
    found = {name: [loss_and_gradient(rows, name) for rows in own] for name in REDUCTIONS}
    (folder / f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_uneven_processes_have_the_gradient_of_one(tmp_path: Path) -> None:
    in_processes(write, tmp_path)
    written = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    for reduction in REDUCTIONS:
        expected = loss_and_gradient(ROWS, reduction)
        assert max(abs(value) for part in expected[1:] for value in part) > 0.05
        for found in (found for process in written for found in process[reduction]):
            for own, one in zip(found, expected, strict=True):
                assert own == pytest.approx(one, rel=1e-10, abs=1e-12)


def test_its_value_is_that_of_the_equations() -> None:
    learner = FairLearner({}).double()
    p = learner.networks["classifier"](ROWS).softmax(dim=1).detach().numpy()
    own = [-float(torch.tensor(row.max()).log()) for row in p if row.max() > 0.35]
    assert 0 < len(own) < len(ROWS)
    mean = p.mean(axis=0)
    fairness = sum(float(m) * float(torch.tensor(m).log()) for m in mean)
    expected = 2 * (sum(own) / len(ROWS) + 0.3 * fairness)
    assert loss_and_gradient(ROWS)[0] == pytest.approx([expected], rel=1e-12)
