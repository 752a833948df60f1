"""Self-adaptive fairness against FreeMatch's equations in NumPy; two processes learn as one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from parts_playing import CLASSES, Answers
from processes import in_processes
from references import adaptive as reference
from torch import Tensor, nn

from sesemi_like.config.facts import DataFacts
from sesemi_like.distributed import all_sum, world_size
from sesemi_like.learners import Learner, LossTerm
from sesemi_like.models.heads.loss import PseudoLabelLossHead
from sesemi_like.models.heads.loss.parts import (
    FairnessTerm,
    FixedPolicy,
    Prediction,
    PseudoLabels,
    Reads,
    SelfAdaptivePolicy,
)
from sesemi_like.models.networks import Networks

ROWS = (9, 1, 12, 0, 7, 14)
MOMENTUM = 0.7


def term(momentum: float = MOMENTUM) -> FairnessTerm:
    built = FairnessTerm(momentum=momentum)
    built.build(Networks({"classifier": Answers()}), DataFacts(), Reads())
    return built


def batches() -> list[tuple[Tensor, Tensor, Tensor]]:
    """The teacher's logits, the learner's, and masks, of which one keeps nothing."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for number, n in enumerate(ROWS):
        teacher, learner = 2 * torch.randn(2, n, CLASSES, generator=generator)
        mask = (torch.rand(n, generator=generator) < 0.6).float()
        made.append((teacher, learner, mask * (number != 2)))
    return made


def loss(fairness: FairnessTerm, teacher: Tensor, learner: Tensor, weights: Tensor) -> Tensor:
    fairness.update(Prediction(teacher), weights)
    labels = PseudoLabels(
        teacher, teacher, teacher.softmax(1), weights, learner, judge=None, compare=None
    )
    values = fairness(labels, {})
    assert values.reduced
    return values.losses


def test_it_is_the_papers_equations() -> None:
    fairness, made = term(), batches()
    expected = reference.fairness(made, MOMENTUM)
    assert min(expected) < -0.1
    for batch, value in zip(made, expected, strict=True):
        assert loss(fairness, *batch).item() == pytest.approx(value, rel=1e-4)


def test_it_is_as_exact_in_mixed_precision() -> None:
    expected = loss(term(), *batches()[5])
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(term(), *batches()[5])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("rows", [0, 5])
def test_it_is_zero_in_the_graph_where_nothing_is_learned(rows: int) -> None:
    learner = torch.randn(rows, CLASSES, requires_grad=True)
    value = loss(term(), torch.randn(rows, CLASSES), learner, torch.zeros(rows))
    value.backward()
    assert value.item() == 0
    assert learner.grad.tolist() == torch.zeros(rows, CLASSES).tolist()


def test_only_rows_that_are_learned_get_gradients() -> None:
    teacher, learner, _ = batches()[0]
    weights = torch.tensor([1.0, 0, 0.3] * 3)
    teacher.requires_grad_()
    learner.requires_grad_()
    loss(term(), teacher, learner, weights).backward()
    assert teacher.grad is None
    assert learner.grad.isfinite().all()
    assert [bool(row.any()) for row in learner.grad] == [True, False, True] * 3


def test_its_gradient_is_that_of_the_equation() -> None:
    teacher, learner, mask = batches()[0]
    learner = learner.double().requires_grad_()
    loss(term().double(), teacher.double(), learner, mask.double()).backward()
    numbers = learner.detach().clone()
    for row, column in ((0, 0), (3, 1), (8, 3)):
        values = []
        for moved in (1e-5, -1e-5):
            numbers[row, column] += moved
            values.append(reference.fairness([(teacher.double(), numbers, mask)], MOMENTUM)[0])
            numbers[row, column] -= moved
        assert learner.grad[row, column].item() == pytest.approx(
            (values[0] - values[1]) / 2e-5, rel=1e-5, abs=1e-9
        )


def test_a_class_that_is_learned_nowhere_has_no_share() -> None:
    learner = torch.tensor([[3.0, 0, 0, 0], [4.0, 0, 0, 0]], requires_grad=True)
    value = loss(term(), torch.zeros(2, CLASSES), learner, torch.ones(2))
    value.backward()
    assert value.isfinite()
    assert learner.grad.isfinite().all()


def head() -> PseudoLabelLossHead:
    return PseudoLabelLossHead(
        policy=SelfAdaptivePolicy(MOMENTUM), terms={"fairness": FairnessTerm(0.3, MOMENTUM)}
    )


class FreeLearner(Learner):
    """A linear classifier of vectors, with FreeMatch as its only loss."""

    def build_networks(self) -> Networks:
        torch.manual_seed(0)
        return Networks({"classifier": Linear()})

    def build_terms(self) -> dict[str, LossTerm]:
        reduction = self.settings.get("reduction", "mean")
        return {"free": LossTerm(head(), reduction=reduction, scale_factor=2.0)}


class Linear(nn.Module):
    num_classes = CLASSES

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, CLASSES)

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        return {"logits": self.layer(rows)}


VECTORS = [
    3 * torch.randn(2, n, 5, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    for n in (7, 9, 6)
]


def losses_and_gradients(cut: slice) -> dict[str, Any]:
    """Loss and gradient of each batch, averaged over processes as DDP does, and the buffers."""
    learner = FreeLearner({}).double()
    learner.make_plan({"unlabeled": {"weak", "strong"}})
    found: dict[str, Any] = {"steps": []}
    for weak, strong in VECTORS:
        learner.zero_grad()
        batch = {"unlabeled.weak": weak[cut], "unlabeled.strong": strong[cut]}
        value = learner.training_step(batch, 0)
        value.backward()
        parts = [value.detach(), *(p.grad for p in learner.parameters())]
        found["steps"].append([(all_sum(p) / world_size()).flatten().tolist() for p in parts])
    found["buffers"] = {n: b.flatten().tolist() for n, b in learner.named_buffers()}
    return found


def write(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo")
    found = losses_and_gradients(slice(None, 2) if rank == 0 else slice(2, None))
    (folder / f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_uneven_processes_have_loss_gradient_and_state_of_one(tmp_path: Path) -> None:
    in_processes(write, tmp_path)
    expected = losses_and_gradients(slice(None))
    assert any(max(map(abs, step[1])) > 0.01 for step in expected["steps"])
    assert len(expected["buffers"]) >= 4
    for rank in range(2):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        for step, one in zip(found["steps"], expected["steps"], strict=True):
            for own, value in zip(step, one, strict=True):
                assert own == pytest.approx(value, rel=1e-9, abs=1e-12)
        for name, value in expected["buffers"].items():
            assert found["buffers"][name] == pytest.approx(value, rel=1e-9)


def test_its_state_moves_in_training_alone_and_once_a_batch() -> None:
    learner = FreeLearner({}).double()
    learner.make_plan({"unlabeled": {"weak", "strong"}})
    weak, strong = VECTORS[0]
    batch = {"unlabeled.weak": weak, "unlabeled.strong": strong}
    learner.training_step(batch, 0)
    fairness = next(m for m in learner.modules() if isinstance(m, FairnessTerm))
    with torch.no_grad():
        mean = learner.networks["classifier"](weak)["logits"].softmax(dim=1).mean(dim=0)
    expected = MOMENTUM / CLASSES + (1 - MOMENTUM) * mean
    torch.testing.assert_close(fairness.predicted.value, expected)
    learner.eval()
    learner.training_step(batch, 0)
    torch.testing.assert_close(fairness.predicted.value, expected)


def test_terms_follow_the_policy_with_its_weights(play: Any) -> None:
    seen = []

    class Watching(FairnessTerm):
        def update(self, prediction: Prediction, weights: Tensor) -> None:
            seen.append(weights.tolist())
            super().update(prediction, weights)

    watching = PseudoLabelLossHead(policy=FixedPolicy(0.6), terms={"watching": Watching(0.5)})
    watching.build(Networks({"classifier": Answers()}), DataFacts())
    weak = torch.tensor([[4.0, 0, 0, 0], [0.1, 0, 0, 0]])
    strong = torch.tensor([[0.0, 1, 0, 0], [0, 0, 0, 1.0]])
    given = {("unlabeled.weak", "classifier"): weak, ("unlabeled.strong", "classifier"): strong}
    outputs = play(watching, given)
    assert outputs.losses["watching"].coefficient == 0.5
    assert {tuple(weights) for weights in seen} == {(1, 0)}
