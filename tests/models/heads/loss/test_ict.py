"""ICT against its algorithm in NumPy: losses, gradients, the teacher, over several steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from processes import in_processes
from references.losses import softmax
from references.mixing import mean_squared_difference, mix_rows
from references.tiny_network import Parameters, TinyNetwork, gradient, parameters_of, predict
from torch import Tensor

from sesemi_like.distributed import all_sum, world_size
from sesemi_like.learners import Learner, LossTerm
from sesemi_like.learners.averages import Average, move_averages
from sesemi_like.learners.reductions import reduce_terms
from sesemi_like.models.heads.loss import ICTLossHead, Step
from sesemi_like.models.heads.loss.parts import Mixup
from sesemi_like.models.networks import Networks

DECAY = 0.5


class Interpolating(Learner):
    def build_networks(self) -> Networks:
        torch.manual_seed(0)
        return Networks({"classifier": TinyNetwork()})

    def averages(self) -> dict[str, Average]:
        return {"teacher": Average("classifier", {"decay": DECAY}, "ema")}

    def build_terms(self) -> dict[str, LossTerm]:
        return {"ict": LossTerm(ICTLossHead(**self.settings["head"]))}


def built(**head: Any) -> Interpolating:
    learner = Interpolating({"head": head})
    learner.make_plan({"unlabeled": {"weak"}})
    return learner


def batch_of(rows: int = 6, seed: int = 1) -> dict[str, Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    return {"unlabeled.weak": torch.randn(rows, 4, generator=drawn, dtype=torch.float64)}


def answers(learner: Interpolating, batch: dict[str, Tensor]) -> dict[str, Any]:
    assert learner.plan is not None
    found: dict[str, Any] = learner.plan.run(batch, learner.seed)["ict"]
    return found


def loss_by_hand(
    learned: Parameters, teacher: Parameters, rows: Any, drawn: dict[str, Tensor], blends: str
) -> float:
    """Algorithm 1; the parameters of the teacher are given."""
    how = drawn["shares"].numpy(), drawn["others"].numpy()
    logits = predict(teacher, rows)
    if blends == "logits":
        targets = softmax(mix_rows(logits, *how))
    else:
        targets = mix_rows(softmax(logits), *how)
    return mean_squared_difference(targets, predict(learned, mix_rows(rows, *how)))


@pytest.mark.parametrize("blends", ["logits", "probabilities"])
def test_losses_and_gradients_are_those_of_the_algorithm(blends: str) -> None:
    learner = built(blends=blends)
    network, head = learner.networks.module("classifier"), learner.terms["ict"].head
    teacher = parameters_of(network)
    for step in range(3):
        learner.seed, batch = step, batch_of(seed=step)
        outputs, given = answers(learner, batch), parameters_of(network)
        hand = (teacher, batch["unlabeled.weak"].numpy(), outputs["labels"], blends)

        def by_hand(learned: Parameters, hand: Any = hand) -> float:
            return loss_by_hand(learned, *hand)

        loss = reduce_terms(head(outputs, Step(step, 10, learner.networks, {})), "mean").loss
        assert loss.item() == pytest.approx(by_hand(given), rel=1e-9)
        learner.zero_grad()
        loss.backward()
        expected = gradient(by_hand, given)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                assert parameter.grad is not None
                found = parameter.grad.numpy()
                np.testing.assert_allclose(found, expected[name], rtol=1e-5, atol=1e-8)
                parameter.sub_(parameter.grad)
        move_averages(learner, 10**6)
        now = parameters_of(network)
        teacher = {name: DECAY * old + (1 - DECAY) * now[name] for name, old in teacher.items()}
    assert all(p.grad is None for p in learner.networks.module("teacher").parameters())


def test_one_share_is_drawn_for_all_rows_and_is_not_the_larger_one() -> None:
    learner, shares = built(), []
    for seed in range(30):
        learner.seed = seed
        labels = answers(learner, batch_of())["labels"]
        (share,) = set(labels["shares"].tolist())
        shares.append(share)
        assert sorted(labels["others"].tolist()) == list(range(6))
    assert min(shares) < 0.3 < 0.7 < max(shares)


@pytest.mark.parametrize(("norm", "moves"), [("update", 1), ("batch", 0)])
def test_running_statistics_of_the_teacher_stay(norm: str, moves: int) -> None:
    learner = built(norm=norm)
    learner.training_step(batch_of(), 0)
    network: Any = learner.networks["classifier"]
    teacher: Any = learner.networks.module("teacher")
    assert int(network.norm.num_batches_tracked) == moves
    assert int(teacher.module.norm.num_batches_tracked) == 0


@pytest.mark.parametrize("rows", [1, 0])
def test_one_row_and_no_rows(rows: int) -> None:
    learner = built(norm="eval", teacher_norm="eval")
    loss = learner.training_step(batch_of(rows), 0)
    assert loss.isfinite()
    loss.backward()
    assert rows or loss.item() == 0


def test_metrics_tell_how_it_fares() -> None:
    learner = built(mixing=Mixup(0.0))
    outputs, head = answers(learner, batch_of()), learner.terms["ict"].head
    metrics = head.metrics(outputs, head(outputs, Step(5, 10, learner.networks, {})))
    assert float(metrics["agreement"]) == 1  # the teacher begins as the network
    assert 1 / 3 <= float(metrics["confidence"]) <= 1


def test_nothing_else_can_be_blended() -> None:
    with pytest.raises(ValueError, match="did you mean 'logits'"):
        ICTLossHead(blends="logit")


def loss_and_gradient(rows: dict[str, Tensor]) -> list[list[float]]:
    """Of unmixed rows by running statistics, averaged over processes as DDP does."""
    learner = built(mixing=Mixup(0.0), norm="eval", teacher_norm="batch")
    teacher: Any = learner.networks.module("teacher")
    with torch.no_grad():
        teacher.module.outer.bias[0] += 1
    learner.networks.eval()
    loss = learner.training_step(rows, 0)
    loss.backward()
    parts = [loss.detach(), *(p.grad for p in learner.parameters() if p.grad is not None)]
    return [(all_sum(part) / world_size()).flatten().tolist() for part in parts]


def write(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo")
    cut = slice(2) if rank == 0 else slice(2, None)
    batch = {name: rows[cut] for name, rows in batch_of().items()}
    (folder / f"{rank}.json").write_text(json.dumps(loss_and_gradient(batch)))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_uneven_processes_have_the_gradient_of_one(tmp_path: Path) -> None:
    """Rows are mixed within a process, so this holds for what is left when nothing is mixed."""
    in_processes(write, tmp_path)
    expected = loss_and_gradient(batch_of())
    assert abs(expected[0][0]) > 1e-3
    for rank in range(2):
        written = json.loads((tmp_path / f"{rank}.json").read_text())
        for own, one in zip(written, expected, strict=True):
            assert own == pytest.approx(one, rel=1e-6, abs=1e-9)
