"""Any alignment, policy, targets and terms make a head: it learns, is resumed, and two uneven
processes do what one does."""

import json
import math
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from parts_training import ALIGNMENTS, PARTS, POLICIES, TERMS, loss_of_step, make, make_head, train
from processes import in_processes
from torch import Tensor

from sesemi_like.models.heads.loss import PseudoLabelLossHead
from sesemi_like.models.heads.loss.parts import HardTargets, Policy, Prediction, SharpenedTargets
from sesemi_like.models.networks import Networks

TARGETS = {"own": None, "hard": HardTargets(), "sharpened": SharpenedTargets(0.5)}
LABELLED = {"AverageAlignment": {"target": "labelled"}, "QueueAlignment": {"target": "labelled"}}
"""As their targets, both states of an alignment move."""


def make_alignment(name: str) -> Any:
    if name == "none":
        return None
    return PARTS[name](**LABELLED[name]) if name in LABELLED else make(name)


def make_combined(
    alignment: str, policy: str, targets: str = "own", has_terms: bool = True
) -> tuple[PseudoLabelLossHead, Networks]:
    terms = {f"of_{number}": make(name) for number, name in enumerate(TERMS)} if has_terms else {}
    words = {"targets": TARGETS[targets], "policy": make(policy), "terms": terms}
    return make_head(alignment=make_alignment(alignment), **words)


PAIRS = list(product(["none", *ALIGNMENTS], POLICIES))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("alignment", ["none", *ALIGNMENTS])
def test_it_learns_and_goes_on_after_a_restart(alignment: str, policy: str) -> None:
    for targets, has_terms in product(TARGETS, (True, False)):
        head, networks = make_combined(alignment, policy, targets, has_terms)
        found = train(head, networks, steps=3)
        numbers = [number for values in found["steps"] for part in values for number in part]
        assert all(math.isfinite(number) for number in numbers)
        again, _ = make_combined(alignment, policy, targets, has_terms)
        again.load_state_dict(head.state_dict())
        assert torch.equal(loss_of_step(head, networks, 3), loss_of_step(again, networks, 3))


class SurerThanOwn(Policy):
    """Against the contract: its state follows the rows of its own process."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def update(self, prediction: Prediction) -> None:
        self.mean.copy_(prediction.confidence.mean())

    def forward(self, prediction: Prediction) -> Tensor:
        return (prediction.confidence >= self.mean).to(prediction.confidence.dtype)


def write(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo")
    found = {" ".join(pair): train(*make_combined(*pair), rank, steps=3) for pair in PAIRS}
    found["wrong"] = train(*make_head(policy=SurerThanOwn()), rank, steps=3)
    (folder / f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def of_two_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("combinations")
    in_processes(write, folder)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


def flat(found: dict[str, Any]) -> list[float]:
    """Losses, gradients and buffers as one list."""
    parts = [part for values in found["steps"] for part in values]
    return [number for part in [*parts, *found["buffers"].values()] for number in part]


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS, ids=" ".join)
def test_two_uneven_processes_do_what_one_does(
    of_two_processes: list[dict[str, Any]], pair: tuple[str, str]
) -> None:
    expected = flat(train(*make_combined(*pair), steps=3))
    for process in of_two_processes:
        found = flat(process[" ".join(pair)])
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True)


@pytest.mark.slow
def test_a_part_that_breaks_the_rule_is_found(of_two_processes: list[dict[str, Any]]) -> None:
    first, second = (process["wrong"]["buffers"] for process in of_two_processes)
    assert first != second
