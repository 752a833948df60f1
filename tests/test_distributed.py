"""Collectives of two processes against the same computation on one that holds all rows."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import in_processes
from torch import Tensor

from sesemi_like.distributed import all_sum, all_true, gather_objects, gather_rows, rank, world_size

ROWS = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0], [2.0, 2.0, -1.0], [0.5, 0.0, 4.0]])
ROWS = torch.cat([ROWS, ROWS.flip(0)[:1] * 0.3])
EVEN = ROWS[:4]
WEIGHT = torch.tensor([[0.3, -0.1], [0.2, 0.4], [-0.5, 0.6]])
CUTS = (3, 4, 5, 0)
"""How many of the five rows fall on the first process; of none and all as well."""


def own_rows(number: int, cut: int) -> slice:
    return slice(None, cut) if number == 0 else slice(cut, None)


def contrast(own: Tensor, every: Tensor, count: int) -> Tensor:
    """The share of own rows in a loss that compares each row with the rows of all processes."""
    return (own @ every.T).logsumexp(dim=1).sum() / count


def mean_of_squares(own: Tensor, total: Tensor, count: int) -> Tensor:
    """The share of own rows in a loss around the mean over all processes."""
    return (own - total / count).square().sum() / count


def gradients_of(loss_name: str, rows: Tensor) -> tuple[list[float], list[float]]:
    """Loss and gradient of this process's rows, as DDP averages them over processes."""
    weight = WEIGHT.clone().requires_grad_()
    own = torch.tanh(rows @ weight)
    if loss_name.startswith("gather_rows"):
        loss = contrast(own, gather_rows(own, equal="equal" in loss_name), len(ROWS))
    else:
        loss = mean_of_squares(own, all_sum(own.sum(dim=0)), len(ROWS))
    (loss * world_size()).backward()
    assert weight.grad is not None
    average = all_sum(torch.cat([loss.detach().flatten() * world_size(), weight.grad.flatten()]))
    value, *gradient = (average / world_size()).tolist()
    return [value], gradient


def note_results(number: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo")
    assert (rank(), world_size()) == (number, 2)
    noted: dict[str, object] = {}
    for cut in CUTS:
        rows = ROWS[own_rows(number, cut)]
        noted[f"rows {cut}"] = gather_rows(rows).tolist()
        noted[f"integers {cut}"] = gather_rows(rows.to(torch.int64)).tolist()
        noted[f"flags {cut}"] = gather_rows(rows > 0).tolist()
        for name in ("gather_rows", "all_sum"):
            noted[f"{name} {cut}"] = gradients_of(name, rows)
    noted["none"] = gather_rows(ROWS[:0]).shape
    noted["equal"] = gather_rows(
        EVEN[2 * number : 2 * number + 2].T.contiguous().T, equal=True
    ).tolist()
    noted["gather_rows equal"] = gradients_of(
        "gather_rows equal", EVEN[2 * number : 2 * number + 2]
    )
    given = torch.tensor([1.0, 10.0]) * (number + 1)
    noted["sum"] = all_sum(given).tolist()
    noted["given"] = given.tolist()
    noted["strided"] = all_sum(ROWS.T[:, number : number + 2]).tolist()
    twice = torch.tensor(2.0 + number, requires_grad=True)
    (first,) = torch.autograd.grad(all_sum(twice).pow(3), twice, create_graph=True)
    noted["second derivative"] = torch.autograd.grad(first, twice)[0].item()
    noted["all true"] = [all_true(True), all_true(number == 0), all_true(False)]
    noted["objects"] = gather_objects({"rank": number})
    (folder / f"{number}.json").write_text(json.dumps(noted))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def noted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("noted")
    in_processes(note_results, folder)
    return [json.loads((folder / f"{number}.json").read_text()) for number in range(2)]


@pytest.mark.parametrize("cut", CUTS)
def test_rows_of_uneven_processes_are_gathered_in_order(noted: Any, cut: Any) -> None:
    for found in noted:
        assert found[f"rows {cut}"] == ROWS.tolist()
        assert found[f"integers {cut}"] == ROWS.to(torch.int64).tolist()
        assert found[f"flags {cut}"] == (ROWS > 0).tolist()


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", ["gather_rows", "all_sum"])
def test_loss_and_gradient_of_two_processes_are_those_of_one(
    noted: Any, name: str, cut: Any
) -> None:
    expected_loss, expected_gradient = gradients_of(name, ROWS)
    assert max(map(abs, expected_gradient)) > 1e-2
    for found in noted:
        loss, gradient = found[f"{name} {cut}"]
        assert loss == pytest.approx(expected_loss, rel=1e-5)
        assert gradient == pytest.approx(expected_gradient, rel=1e-4, abs=1e-6)


def test_rows_of_known_numbers_are_gathered_alike(noted: Any) -> None:
    expected_loss, expected_gradient = gradients_of("gather_rows", EVEN)
    for found in noted:
        assert found["none"] == [0, 3]
        assert found["equal"] == EVEN.tolist()
        loss, gradient = found["gather_rows equal"]
        assert loss == pytest.approx(expected_loss, rel=1e-5)
        assert gradient == pytest.approx(expected_gradient, rel=1e-4, abs=1e-6)


def test_a_sum_leaves_what_it_was_given(noted: Any) -> None:
    for number, found in enumerate(noted):
        assert found["sum"] == [3.0, 30.0]
        assert found["given"] == [1.0 + number, 10.0 * (1 + number)]
        assert found["strided"] == (ROWS.T[:, 0:2] + ROWS.T[:, 1:3]).tolist()


def test_a_sum_can_be_differentiated_twice(noted: Any) -> None:
    # L = 2 (a + b)^3 over both processes; each takes a derivative of its share 12 (a + b).
    assert [found["second derivative"] for found in noted] == [2 * 12 * 5.0] * 2


def test_other_values_of_all_processes(noted: Any) -> None:
    for found in noted:
        assert found["all true"] == [True, False, False]
        assert found["objects"] == [{"rank": 0}, {"rank": 1}]


def test_one_process_gets_back_what_it_gives() -> None:
    rows = ROWS.clone().requires_grad_()
    assert all_sum(rows) is rows
    assert gather_rows(rows) is rows
    assert all_true(True)
    assert not all_true(False)
    assert gather_objects("own") == ["own"]
    assert (rank(), world_size()) == (0, 1)
