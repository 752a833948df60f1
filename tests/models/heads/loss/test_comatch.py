"""CoMatch against NumPy over several steps: the queue, the graph, who learns, what is kept."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from embedded_rows import FIELDS, Embedding, batches, one_step, sent, split
from processes import in_processes
from references import embeddings as reference
from torch import Tensor

from sesemi_like.distributed import all_sum, world_size
from sesemi_like.errors import ConfigError
from sesemi_like.models.heads.loss import CoMatchLossHead, LossHead, LossOutputs
from sesemi_like.models.heads.loss.parts import CurriculumPolicy

STEPS, LENGTH, START, THRESHOLD, GRAPH = 9, 11, 2, 0.6, 0.3


def head(**settings: Any) -> CoMatchLossHead:
    kept = {"policy": THRESHOLD, "graph_threshold": GRAPH, "temperature": 0.3}
    given = {"queue_length": LENGTH, "smoothing_start": START, **kept, **settings}
    return CoMatchLossHead(**given)


def follow(learner: Embedding, steps: list[dict[str, Tensor]]) -> list[dict[str, Any]]:
    """Makes steps in double precision, without an optimizer; returns what each one found."""
    return [
        {name: term.losses for name, term in one_step(learner, batch, number).terms.items()}
        for number, batch in enumerate(steps)
    ]


@pytest.mark.parametrize("rows", [5, 1, 0])
def test_steps_are_those_of_the_equations(rows: int) -> None:
    learner = Embedding(head()).double()
    expected = reference.CoMatch(LENGTH, START, 0.9, 0.3, THRESHOLD, GRAPH)
    has_weights, has_edges = set(), False
    for number, batch in enumerate(batches(STEPS, rows)):
        found = one_step(learner, batch, number)
        targets, weights, losses, contrasts = expected.follow(
            sent(learner, batch, "weak"),
            sent(learner, batch, "strong"),
            sent(learner, batch, "strong_2")[1],
            (sent(learner, batch, "image")[1], batch["supervised.target"]),
        )
        terms = found.terms
        np.testing.assert_allclose(terms["pseudo_label"].weights, weights)
        np.testing.assert_allclose(terms["pseudo_label"].losses.detach(), losses, rtol=1e-6)
        np.testing.assert_allclose(
            terms["contrast"].losses.detach(), contrasts, rtol=1e-6, atol=1e-9
        )
        has_weights |= set(weights.tolist())
        has_edges |= bool(((targets @ targets.T > GRAPH).sum(axis=1) > 1).any())
    queue = learner.head.queue
    assert int(queue.num_rows) == STEPS * rows + sum(
        int((batch["supervised.target"] >= 0).sum()) for batch in batches(STEPS, rows)
    )
    order = [(int(queue.num_rows) + i) % LENGTH for i in range(LENGTH)][-len(expected.queue) :]
    for place, (embedded, predicted) in zip(order, expected.queue, strict=True):
        np.testing.assert_allclose(queue.features[place], embedded, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(queue.probabilities[place], predicted, rtol=1e-6)
    if rows == 5:
        assert has_weights == {0, 1} and has_edges


def test_smoothing_begins_after_its_first_steps_and_changes_targets() -> None:
    smoothed, plain = (
        follow(Embedding(head(alpha=alpha)).double(), batches(STEPS, 5)) for alpha in (0.5, 1)
    )
    same = [
        torch.equal(a["pseudo_label"], b["pseudo_label"])
        for a, b in zip(smoothed, plain, strict=True)
    ]
    assert same == [True] * (START + 1) + [False] * (STEPS - START - 1)


def test_gradients_reach_the_strong_views_alone() -> None:
    learner = Embedding(head(policy=0.0)).double()
    batch = batches(1, 5)[0]
    for value in batch.values():
        if value.is_floating_point():
            value.requires_grad_()
    terms = one_step(learner, batch, 0).terms
    reached = {}
    for name, term in terms.items():
        inputs = {key: value for key, value in batch.items() if value.requires_grad}
        found = torch.autograd.grad(
            term.losses.sum(), list(inputs.values()), allow_unused=True, retain_graph=True
        )
        reached[name] = {k for k, g in zip(inputs, found, strict=True) if g is not None}
    assert reached == {
        "pseudo_label": {"unlabeled.strong"},
        "contrast": {"unlabeled.strong", "unlabeled.strong_2"},
    }


def test_nothing_moves_in_evaluation() -> None:
    learner = Embedding(head()).double()
    learner.eval()
    follow(learner, batches(3, 5))
    assert int(learner.head.queue.num_rows) == 0


def test_a_restart_goes_on_alike() -> None:
    steps = batches(STEPS, 5)
    learner = Embedding(head()).double()
    follow(learner, steps[:5])
    again = Embedding(head()).double()
    again.load_state_dict(learner.state_dict())
    for number, batch in enumerate(steps[5:], start=5):
        one, other = (one_step(x, batch, number).terms for x in (learner, again))
        for name, term in one.items():
            assert torch.equal(term.losses, other[name].losses)


def test_more_rows_than_the_queue_has_leave_the_newest() -> None:
    learner = Embedding(head(queue_length=3)).double()
    one_step(learner, batches(1, 5)[0], 0)
    batch = batches(1, 5)[0]
    labeled = batch["supervised.target"] >= 0
    newest = sent(learner, batch, "image")[1][labeled.numpy()]
    found = learner.head.queue.features.numpy()
    for row in newest:
        assert np.isclose(found, reference.unit(row)).all(axis=1).any()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"alpha": 1.2}, r"alpha: found 1.2; needs a number in \[0, 1\]"),
        ({"graph_threshold": -1}, r"graph_threshold: found -1; needs a number in \[0, 1\]"),
        ({"temperature": 0}, "temperature: found 0; needs a number above 0"),
    ],
)
def test_settings_outside_their_range_are_refused(setting: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        head(**setting)
    with pytest.raises(ConfigError, match="queue_length: found 0; needs 1 row at least"):
        Embedding(head(queue_length=0))


def found_by(own: LossHead, steps: list[dict[str, Tensor]]) -> dict[str, Any]:
    """Losses, averaged gradients, and buffers after steps, as a process sees them."""
    learner = Embedding(own).double()
    for number, batch in enumerate(steps):
        learner.zero_grad()
        loss = learner.step_at(batch, number)
        loss.backward()
    parts = [loss.detach(), *(p.grad for p in learner.parameters() if p.grad is not None)]
    averaged = [(all_sum(part) / world_size()).flatten().tolist() for part in parts]
    buffers = {n: b.flatten().tolist() for n, b in learner.head.named_buffers()}
    return {"averaged": averaged, "buffers": buffers}


CUTS = (2, 5, 0)


def write(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo")
    found = [found_by(head(), [split(batch, rank, cut) for batch in batches(5, 5)]) for cut in CUTS]
    (folder / f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_uneven_processes_have_the_gradient_and_queue_of_one(tmp_path: Path) -> None:
    in_processes(write, tmp_path)
    expected = found_by(head(), batches(5, 5))
    assert max(map(abs, expected["averaged"][1])) > 1e-3
    for rank in range(2):
        for found in json.loads((tmp_path / f"{rank}.json").read_text()):
            for own, one in zip(found["averaged"], expected["averaged"], strict=True):
                assert own == pytest.approx(one, rel=1e-7, abs=1e-10)
            assert found["buffers"].keys() == expected["buffers"].keys()
            for name, values in found["buffers"].items():
                assert values == pytest.approx(expected["buffers"][name], rel=1e-7, abs=1e-10)


def test_policies_get_what_they_need() -> None:
    own = head(policy=CurriculumPolicy(threshold=0.6), queue_length=4)
    learner = Embedding(own)
    assert learner.head.policy.needs == ("index",)
    one_step(learner, batches(1, 5, torch.float32)[0], 0)
    assert (learner.head.policy.label[:5] >= 0).any()


def test_it_reads_three_views_of_unlabeled_rows() -> None:
    learner = Embedding(head())
    assert learner.plan is not None
    assert set(learner.plan.fields) <= {f"{n}.{f}" for n, own in FIELDS.items() for f in own}
    outputs: Mapping[str, Any] = learner.plan.run(batches(1, 2, torch.float32)[0])["head"]
    losses = learner.head(outputs, learner.step(0))
    assert isinstance(losses, LossOutputs)
    assert set(learner.head.metrics(outputs, losses)) == {"mask_rate", "confidence"}


def test_processes_are_not_waited_for_in_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    """There they may have different numbers of batches."""
    learner, (batch,) = Embedding(head()).double(), batches(1, 5)
    learner.eval()
    expected = one_step(learner, batch, 0).terms["contrast"].losses
    monkeypatch.setattr("sesemi_like.distributed.world_size", lambda: 2)
    assert torch.equal(one_step(learner, batch, 0).terms["contrast"].losses, expected)
