"""Reductions against hand calculations, torch's weighted loss, and gradients over two processes."""

import os
import socket
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F

from sesemi_like.learners.reductions import REDUCTIONS, reduce_losses, reduce_terms
from sesemi_like.learners.step_log import logged_names
from sesemi_like.models.heads.loss.base import LossOutputs, LossValues

LOSSES, WEIGHTS = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 0.0, 0.5])


@pytest.mark.parametrize(
    ("reduction", "expected"), [("mean", 3 / 3), ("weighted_mean", 3 / 1.5), ("sum", 3.0)]
)
def test_by_hand(reduction: str, expected: float) -> None:
    assert reduce_losses(LossOutputs(LOSSES, WEIGHTS), reduction).item() == pytest.approx(expected)


def test_no_weights_are_ones() -> None:
    for reduction, expected in {"mean": 7 / 3, "weighted_mean": 7 / 3, "sum": 7.0}.items():
        assert reduce_losses(LossOutputs(LOSSES), reduction).item() == pytest.approx(expected)


def test_weighted_mean_is_torchs_weighted_cross_entropy() -> None:
    logits, target = torch.randn(8, 3), torch.randint(3, (8,))
    class_weights = torch.tensor([0.2, 1.0, 3.0])
    outputs = LossOutputs(F.cross_entropy(logits, target, reduction="none"), class_weights[target])
    expected = F.cross_entropy(logits, target, weight=class_weights)
    torch.testing.assert_close(reduce_losses(outputs, "weighted_mean"), expected)


def test_several_terms_are_reduced_over_their_own_rows_and_added() -> None:
    outputs = LossOutputs({"a": torch.tensor([2.0, 4.0]), "b": torch.tensor([9.0])})
    assert reduce_losses(outputs, "mean").item() == pytest.approx(3 + 9)


@pytest.mark.parametrize(
    ("reduction", "kept", "against"),
    [("mean", 3 / 2, 7 / 3), ("weighted_mean", 3 / 1.5, 7 / 3), ("sum", 3.0, 7.0)],
)
def test_every_term_has_weights_count_and_coefficient_of_its_own(
    reduction: str, kept: float, against: float
) -> None:
    terms = {
        "kept": LossValues(LOSSES, WEIGHTS, count=torch.tensor(2), coefficient=0.5),
        "against": LossValues(LOSSES, coefficient=torch.tensor(-2.0)),
        "whole": LossValues(torch.tensor(10.0), reduced=True),
    }
    reduced = reduce_terms(LossOutputs(terms), reduction)
    found = {name: value.item() for name, value in reduced.terms.items()}
    assert found == pytest.approx({"kept": kept, "against": against, "whole": 10})
    assert reduced.loss.item() == pytest.approx(0.5 * kept - 2 * against + 10)


def test_losses_are_reduced_in_float32_or_better() -> None:
    many = torch.full((4096,), 1 + 1 / 512)
    for kind, expected in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        found = reduce_losses(LossOutputs(many.to(kind), torch.ones(4096)), "mean")
        assert found.dtype == expected
    exact = torch.tensor([1.0, 1e-12], dtype=torch.float64)
    assert reduce_losses(LossOutputs({"a": exact}), "sum").item() == 1 + 1e-12


def test_terms_that_cannot_be_reduced_are_refused() -> None:
    wrong: dict[str, tuple[Any, dict[str, Any]]] = {
        "needs one at least": ({}, {}),
        "weights and count: found them beside": ({"a": LOSSES}, {"weights": WEIGHTS}),
        "a: found losses of shape \\(3,\\); a reduced": (
            {"a": LossValues(LOSSES, reduced=True)},
            {},
        ),
        "a: found losses of shape \\(\\)": ({"a": torch.tensor(1.0)}, {}),
    }
    for message, (losses, more) in wrong.items():
        with pytest.raises(ValueError, match=message):
            reduce_losses(LossOutputs(losses, **more), "mean")


def test_a_name_that_hides_another_is_refused() -> None:
    reduced = reduce_terms(LossOutputs({"own": LOSSES, "top1": LOSSES}), "mean")
    assert logged_names(reduced, {"mask": LOSSES[0]})[3:] == ["own", "top1", "mask"]
    with pytest.raises(ValueError, match="top1: terms and metrics of one name"):
        logged_names(reduced, {"top1": LOSSES[0]})
    with pytest.raises(ValueError, match="weight: terms and metrics"):
        logged_names(reduced, {"weight": LOSSES[0]})


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_no_rows_give_a_zero_that_is_attached_to_the_graph(reduction: Any) -> None:
    parameter = torch.ones(3, requires_grad=True)
    value = reduce_losses(LossOutputs(parameter[:0]), reduction)
    value.backward()
    assert value.item() == 0
    assert torch.equal(parameter.grad, torch.zeros(3))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_no_weight_at_all_gives_zero(reduction: Any) -> None:
    assert reduce_losses(LossOutputs(LOSSES, torch.zeros(3)), reduction).item() == 0


def test_what_is_not_one_loss_per_row_is_refused() -> None:
    with pytest.raises(ValueError, match="needs one per row"):
        reduce_losses(LossOutputs(torch.tensor(1.0)), "mean")
    with pytest.raises(ValueError, match="one weight per row"):
        reduce_losses(LossOutputs(LOSSES, WEIGHTS[:2]), "mean")


# Five rows fall on two processes as 4 + 1, and as 5 + 0.
ROWS = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
ROW_WEIGHTS = torch.tensor([1.0, 0.0, 1.0, 0.25, 2.0])


def gradient_of(rows: Any, weights: Any, reduction: Any) -> Any:
    parameter = torch.tensor(3.0, requires_grad=True)
    reduce_losses(LossOutputs((parameter * rows) ** 2, weights), reduction).backward()
    return parameter.grad


def compare_with_one_process(rank: int, port: Any, cut: Any) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    own = slice(0, cut) if rank == 0 else slice(cut, None)
    for reduction in REDUCTIONS:
        gradient = gradient_of(ROWS[own], ROW_WEIGHTS[own], reduction)
        dist.all_reduce(gradient)  # DDP averages gradients
        gradient /= 2
        dist.barrier()
        expected = EXPECTED[reduction]
        assert gradient.item() == pytest.approx(expected, rel=1e-6), (reduction, cut)
    dist.destroy_process_group()


# d/dp of p^2 r^2 is 2 p r^2; with p = 3: 6 * sum(w r^2) = 6 * (1 + 0 + 9 + 4 + 50).
EXPECTED = {"mean": 6 * 64 / 5, "weighted_mean": 6 * 64 / 4.25, "sum": 6 * 64.0}


def test_one_process_gives_the_gradient_by_hand() -> None:
    for reduction, expected in EXPECTED.items():
        assert gradient_of(ROWS, ROW_WEIGHTS, reduction).item() == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize("cut", [4, 5])
def test_gradients_of_uneven_processes_are_those_of_one(cut: int) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(compare_with_one_process, args=(port, cut), nprocs=2)
