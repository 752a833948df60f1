"""SimMatch against NumPy over several steps: the bank, both losses, who learns, what is kept."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from embedded_rows import INDICES, Embedding, batches, one_step, sent, split
from processes import in_processes
from references import embeddings as reference
from torch import Tensor

from sesemi_like.config.facts import DataFacts
from sesemi_like.distributed import all_sum, world_size
from sesemi_like.errors import ConfigError
from sesemi_like.models.heads.loss import SimMatchLossHead
from sesemi_like.models.heads.loss.parts import Alignment, Prediction

STEPS, THRESHOLD = 8, 0.6
EPOCHS = [0, 0, 0, 1, 1, 1, 2, 2]
BY_TEACHER = {"teacher": "teacher", "teacher_projector": "slow_projector"}


def head(**settings: Any) -> SimMatchLossHead:
    return SimMatchLossHead(**{"policy": THRESHOLD, "temperature": 0.3, **settings})


@pytest.mark.parametrize("rows", [5, 1, 0])
@pytest.mark.parametrize(("settings", "momentum"), [({}, 0.7), (BY_TEACHER, 0.0)])
def test_steps_are_those_of_the_equations(rows: int, settings: Any, momentum: float) -> None:
    learner = Embedding(head(**settings)).double()
    expected = reference.SimMatch(momentum, 0.9, 0.3, THRESHOLD)
    by = "teacher" if settings else "own"
    seen, most = set(), 0.0
    for number, batch in enumerate(batches(STEPS, rows)):
        terms = one_step(learner, batch, number, EPOCHS[number]).terms
        labeled = sent(learner, batch, "image", by)[1]
        _, weights, losses, instances = expected.follow(
            sent(learner, batch, "weak", by),
            sent(learner, batch, "strong"),
            (labeled, batch["supervised.target"], batch["supervised.index"]),
            epoch=EPOCHS[number],
        )
        np.testing.assert_allclose(terms["pseudo_label"].weights, weights)
        found = (terms[name].losses.detach() for name in ("pseudo_label", "instance"))
        for own, by_hand in zip(found, (losses, instances), strict=True):
            np.testing.assert_allclose(own, by_hand, rtol=1e-6, atol=1e-9)
        seen |= set(weights.tolist())
        most = max([most, *instances.tolist()])
        assert EPOCHS[number] or not terms["instance"].losses.any()
    bank = learner.head.bank
    labels = {k: label for k, (_, label) in expected.bank.items()}
    assert {k for k in range(INDICES) if bank.place[k] >= 0} == {*labels}
    for k, (row, label) in expected.bank.items():
        place = int(bank.place[k])
        assert int(bank.label[place]) == label
        np.testing.assert_allclose(bank.features[place], row, rtol=1e-6, atol=1e-9)
    if rows == 5:
        assert seen == {0, 1} and most > 0.1


def test_gradients_reach_the_strong_view_alone() -> None:
    learner = Embedding(head(policy=0.0)).double()
    one_step(learner, batches(1, 5)[0], 0, 1)
    batch = batches(2, 5)[1]
    for value in batch.values():
        if value.is_floating_point():
            value.requires_grad_()
    for term in one_step(learner, batch, 1, 1).terms.values():
        inputs = {key: value for key, value in batch.items() if value.requires_grad}
        found = torch.autograd.grad(
            term.losses.sum(), list(inputs.values()), allow_unused=True, retain_graph=True
        )
        reached = [k for k, g in zip(inputs, found, strict=True) if g is not None and g.any()]
        assert reached == ["unlabeled.strong"]


class FavorsTheFirst(Alignment):
    """Doubles the odds of the first class, and counts the batches."""

    seen = 0

    def update(self, prediction: Prediction) -> None:
        self.seen += 1

    def forward(self, prediction: Prediction) -> Tensor:
        return prediction.logits + prediction.logits.new_tensor([2.0, 1.0, 1.0]).log()


def test_predictions_are_aligned_before_they_are_smoothed() -> None:
    alignment = FavorsTheFirst()
    learner = Embedding(head(alignment=alignment)).double()
    plain = reference.SimMatch(0.7, 0.9, 0.3, THRESHOLD)
    for number, batch in enumerate(batches(4, 5)):
        terms = one_step(learner, batch, number, number).terms
        logits, embedded = sent(learner, batch, "weak")
        labeled = sent(learner, batch, "image")[1]
        _, _, losses, instances = plain.follow(
            (logits + np.log([2.0, 1.0, 1.0]), embedded),
            sent(learner, batch, "strong"),
            (labeled, batch["supervised.target"], batch["supervised.index"]),
            epoch=number,
        )
        np.testing.assert_allclose(terms["pseudo_label"].losses.detach(), losses, rtol=1e-6)
        np.testing.assert_allclose(
            terms["instance"].losses.detach(), instances, rtol=1e-6, atol=1e-9
        )
    assert alignment.seen == 4


def test_nothing_moves_in_evaluation() -> None:
    learner = Embedding(head()).double()
    learner.eval()
    one_step(learner, batches(1, 5)[0], 0)
    assert not learner.head.bank.is_begun


def test_a_restart_goes_on_alike() -> None:
    steps = batches(STEPS, 5)
    learner = Embedding(head()).double()
    for number, batch in enumerate(steps[:4]):
        one_step(learner, batch, number)
    again = Embedding(head()).double()
    again.load_state_dict(learner.state_dict())
    for number, batch in enumerate(steps[4:], start=4):
        one, other = (one_step(x, batch, number, 1).terms for x in (learner, again))
        for name, term in one.items():
            assert torch.equal(term.losses, other[name].losses)


def test_of_a_row_that_comes_twice_the_last_one_counts() -> None:
    learner = Embedding(head()).double()
    batch = batches(1, 5)[0]
    batch["supervised.index"] = torch.tensor([2, 2, 2])
    batch["supervised.target"] = torch.tensor([0, 1, -1])
    one_step(learner, batch, 0)
    bank = learner.head.bank
    assert bank.place.tolist() == [-1, -1, 0, -1, -1, -1]
    assert bank.label.tolist() == [1, -1, -1, -1, -1, -1]
    expected = reference.unit(sent(learner, batch, "image")[1][1])
    np.testing.assert_allclose(bank.features[0], expected, rtol=1e-6)


def test_the_bank_has_a_row_for_each_label_and_not_for_each_index() -> None:
    own, networks = head(), Embedding(head()).networks
    facts = DataFacts(
        largest_index={"train.supervised": 49_999}, class_counts={"supervised": [2, 1, 1]}
    )
    own.build(networks, facts)
    assert own.bank.features.shape == (4, 2)


def test_a_stream_of_labels_is_refused() -> None:
    learner = Embedding(head())
    with pytest.raises(ConfigError, match=r"data.train.supervised"):
        head().build(learner.networks, DataFacts())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"alpha": 1.2}, r"alpha: found 1.2; needs a number in \[0, 1\]"),
        ({"bank_momentum": 1}, r"bank_momentum: found 1; needs a number in \[0, 1\)"),
        ({"temperature": 0}, "temperature: found 0; needs a number above 0"),
    ],
)
def test_settings_outside_their_range_are_refused(setting: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        head(**setting)


def found_by(steps: list[dict[str, Tensor]]) -> dict[str, Any]:
    """Loss, averaged gradient, and buffers after steps, as a process sees them."""
    learner = Embedding(head()).double()
    for number, batch in enumerate(steps):
        learner.zero_grad()
        loss = learner.step_at(batch, number, EPOCHS[number])
        loss.backward()
    parts = [loss.detach(), *(p.grad for p in learner.parameters() if p.grad is not None)]
    averaged = [(all_sum(part) / world_size()).flatten().tolist() for part in parts]
    buffers = {n: b.flatten().tolist() for n, b in learner.head.named_buffers()}
    return {"averaged": averaged, "buffers": buffers}


def write(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo")
    found = [found_by([split(batch, rank, cut) for batch in batches(5, 5)]) for cut in (2, 5, 0)]
    (folder / f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_uneven_processes_have_the_gradient_and_bank_of_one(tmp_path: Path) -> None:
    in_processes(write, tmp_path)
    expected = found_by(batches(5, 5))
    assert max(map(abs, expected["averaged"][1])) > 1e-3
    for rank in range(2):
        for found in json.loads((tmp_path / f"{rank}.json").read_text()):
            for own, one in zip(found["averaged"], expected["averaged"], strict=True):
                assert own == pytest.approx(one, rel=1e-7, abs=1e-10)
            assert found["buffers"].keys() == expected["buffers"].keys()
            for name, values in found["buffers"].items():
                assert values == pytest.approx(expected["buffers"][name], rel=1e-7, abs=1e-10)
