"""A process whose batch has no rows for a network takes part in that network's gradients."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from processes import in_processes
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sesemi_like.learners.forwards import ForwardPlan
from sesemi_like.models.heads.loss.base import Forward
from sesemi_like.models.networks import Networks

ROWS = torch.tensor([[1.0, -2.0], [0.5, 3.0], [-1.0, 1.0]], dtype=torch.float64)
CHAIN = Forward(Forward("text.x", "encoder"), "projector")


class Picky(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        assert len(x), "called on no rows"
        return super().forward(x).tanh()


class Step(nn.Module):
    """Sums the squares of the chain's answers over all rows of all processes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.networks = Networks({"encoder": Picky(2, 3), "projector": Picky(3, 2)}).double()
        self.plan = ForwardPlan({"h": {"y": CHAIN}}, self.networks)

    def forward(self, x: Tensor, processes: int) -> Tensor:
        answer: Tensor = self.plan.run({"text.x": x})["h"]["y"]
        return answer.square().sum() * processes


def gradients(step: nn.Module, rows: Tensor, processes: int) -> list[Tensor]:
    step(rows, processes).backward()
    return [parameter.grad for parameter in step.parameters()]


def write_gradients(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo")
    # The second process has no row in the first step, and none again once it knows the answer.
    steps = DistributedDataParallel(Step())
    shares = [ROWS[:0], ROWS[:0]] if rank else [ROWS, ROWS]
    found = []
    for rows in shares:
        steps.zero_grad()
        found.append([gradient.clone() for gradient in gradients(steps, rows, 2)])
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_gradients_are_those_of_one_process_with_all_rows(tmp_path: Path) -> None:
    in_processes(write_gradients, tmp_path)
    expected = gradients(Step(), ROWS, 1)
    for rank in range(2):
        for found in torch.load(tmp_path / f"{rank}.pt", weights_only=True):
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
