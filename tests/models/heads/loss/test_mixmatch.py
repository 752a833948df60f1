"""MixMatch against its algorithm in NumPy: losses, gradients, statistics, over several steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from processes import in_processes
from references.mixing import (
    labels_of,
    mean_cross_entropy,
    mean_squared_difference,
    mix_rows,
    mixmatch_guess,
)
from references.tiny_network import Parameters, TinyNetwork, gradient, parameters_of, predict
from torch import Tensor

from sesemi_like.distributed import all_sum, world_size
from sesemi_like.learners import Learner, LossTerm
from sesemi_like.learners.reductions import reduce_terms
from sesemi_like.models.heads.loss import MixMatchLossHead, Step
from sesemi_like.models.heads.loss.parts import Mixup
from sesemi_like.models.networks import Networks
from sesemi_like.schedulers import LinearSchedule

WEIGHT = 75.0
VIEWS = ("weak", "weak_2")
FIELDS = {"supervised": {"image", "target"}, "unlabeled": {*VIEWS}}


class Mixing(Learner):
    def build_networks(self) -> Networks:
        torch.manual_seed(0)
        return Networks({"classifier": TinyNetwork()})

    def build_terms(self) -> dict[str, LossTerm]:
        return {"mixmatch": LossTerm(MixMatchLossHead(**self.settings["head"]))}


def built(**head: Any) -> Mixing:
    learner = Mixing({"head": head})
    learner.make_plan(FIELDS)
    return learner


def batch_of(labeled: int = 4, unlabeled: int = 6, seed: int = 1) -> dict[str, Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    rows = {"supervised.image": labeled, "unlabeled.weak": unlabeled, "unlabeled.weak_2": unlabeled}
    batch = {
        name: torch.randn(count, 4, generator=drawn, dtype=torch.float64)
        for name, count in rows.items()
    }
    return {**batch, "supervised.target": torch.randint(3, (labeled,), generator=drawn)}


def answers(learner: Mixing, batch: dict[str, Tensor]) -> dict[str, Any]:
    """What the head gets."""
    assert learner.plan is not None
    found: dict[str, Any] = learner.plan.run(batch, learner.seed)["mixmatch"]
    return found


def loss_by_hand(
    learned: Parameters,
    given: Parameters,
    batch: dict[str, Tensor],
    labels: dict[str, Tensor],
    weight: float,
    together: bool,
) -> float:
    """Algorithm 1 and equations 2 to 5; `given` guesses the labels, `learned` is learned."""
    views = [batch[f"unlabeled.{view}"].numpy() for view in VIEWS]
    guess = mixmatch_guess([predict(given, view) for view in views], 0.5)
    images, target = batch["supervised.image"].numpy(), batch["supervised.target"].numpy()
    drawn = labels["shares"].numpy(), labels["others"].numpy()
    rows = mix_rows(np.concatenate([images, *views]), *drawn)
    mixed = mix_rows(labels_of(target, guess, len(views)), *drawn)
    cuts = np.cumsum([len(images), len(views[0])])
    parts = [rows] if together else np.split(rows, cuts)
    logits = np.concatenate([predict(learned, part) for part in parts])
    unlabeled = mean_squared_difference(mixed[cuts[0] :], logits[cuts[0] :])
    return mean_cross_entropy(mixed[: cuts[0]], logits[: cuts[0]]) + weight * unlabeled


@pytest.mark.parametrize("batches", ["together", "separate"])
def test_losses_and_gradients_are_those_of_the_algorithm(batches: str) -> None:
    ramp = LinearSchedule(duration=3)
    learner = built(batches=batches, schedule=ramp)
    for step in range(3):
        learner.seed, batch = step, batch_of(seed=step)
        outputs = answers(learner, batch)
        head, network = learner.terms["mixmatch"].head, learner.networks.module("classifier")
        given, weight = parameters_of(network), WEIGHT * ramp(step)
        hand = (given, batch, outputs["labels"], weight, batches == "together")

        def by_hand(learned: Parameters, hand: Any = hand) -> float:
            return loss_by_hand(learned, *hand)

        losses = head(outputs, Step(step, 10, learner.networks, {}))
        loss = reduce_terms(losses, "mean").loss
        assert loss.item() == pytest.approx(by_hand(given), rel=1e-9)
        learner.zero_grad()
        loss.backward()
        expected = gradient(by_hand, given)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                assert parameter.grad is not None
                found = parameter.grad.numpy()
                np.testing.assert_allclose(found, expected[name], rtol=1e-5, atol=1e-7)
                parameter.sub_(0.1 * parameter.grad)


def test_shares_are_a_half_or_more_and_all_rows_take_part() -> None:
    learner = built()
    seen = set()
    for seed in range(20):
        learner.seed = seed
        labels = answers(learner, batch_of())["labels"]
        assert float(labels["shares"].min()) >= 0.5
        assert len(set(labels["shares"].tolist())) == 16
        assert sorted(labels["others"].tolist()) == list(range(16))
        seen.add(tuple(labels["others"].tolist()))
    assert len(seen) == 20


@pytest.mark.parametrize(("batches", "rows"), [("together", 16), ("separate", 4)])
def test_statistics_move_once_by_the_mixed_rows(batches: str, rows: int) -> None:
    learner, batch = built(batches=batches), batch_of()
    network: Any = learner.networks["classifier"]
    labels = answers(learner, batch)["labels"]
    network.norm.reset_running_stats()
    learner.training_step(batch, 0)
    assert int(network.norm.num_batches_tracked) == 1
    names = ("supervised.image", "unlabeled.weak", "unlabeled.weak_2")
    given = torch.cat([batch[name] for name in names]).numpy()
    mixed = mix_rows(given, labels["shares"].numpy(), labels["others"].numpy())[:rows]
    moved = 0.1 * network.inner(torch.from_numpy(mixed)).mean(dim=0)
    torch.testing.assert_close(network.norm.running_mean, moved)


def test_rows_without_a_label_are_mixed_among_themselves_and_learn_nothing() -> None:
    learner, batch = built(), batch_of()
    batch["supervised.target"] = torch.tensor([1, -1, 0, -1])
    for seed in range(10):
        learner.seed = seed
        outputs = answers(learner, batch)
        others = outputs["labels"]["others"]
        assert {int(others[1]), int(others[3])} == {1, 3}
    labeled = learner.terms["mixmatch"].head(outputs, Step(0, 10, learner.networks, {}))
    term = labeled.terms["labeled"]
    assert term.weights is not None and term.weights.tolist() == [1, 0, 1, 0]
    assert int(term.count) == 2


@pytest.mark.parametrize(("labeled", "unlabeled"), [(1, 1), (0, 1), (4, 0), (0, 0)])
def test_one_row_and_no_rows(labeled: int, unlabeled: int) -> None:
    learner = built(teacher_norm="eval")  # one vector has no variance
    loss = learner.training_step(batch_of(labeled, unlabeled), 0)
    assert loss.isfinite()
    loss.backward()
    assert (loss.item() == 0) == (labeled + unlabeled == 0)


def test_metrics_tell_how_it_fares() -> None:
    learner = built(mixing=Mixup(0.0), schedule=LinearSchedule(duration=10))
    batch, head = batch_of(), learner.terms["mixmatch"].head
    outputs = answers(learner, batch)
    metrics = head.metrics(outputs, head(outputs, Step(5, 10, learner.networks, {})))
    logits = outputs["rows"]["logits"][:4]
    right = (logits.argmax(dim=1) == batch["supervised.target"]).double().mean()
    assert float(metrics["top1"]) == float(right)
    assert float(metrics["unlabeled_weight"]) == WEIGHT / 2
    assert 1 / 3 <= float(metrics["confidence"]) <= 1


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"views": ()}, r"views: found \[\]"),
        ({"views": ("weak", "weak")}, "each once"),
        ({"batches": "seperate"}, "did you mean 'separate'"),
    ],
)
def test_mistakes_are_told(head: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MixMatchLossHead(**head)


def test_views_of_another_shape_are_told() -> None:
    learner, batch = built(), batch_of()
    batch["supervised.image"] = torch.zeros(4, 5, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"unlabeled.weak: found rows of shape \(4,\)"):
        answers(learner, batch)


def loss_and_gradient(batch: dict[str, Tensor]) -> list[list[float]]:
    """Of unmixed rows and a network without statistics, averaged over processes as DDP does."""
    learner = built(mixing=Mixup(0.0), teacher_norm="eval")
    learner.eval()
    loss = learner.training_step(batch, 0)
    loss.backward()
    parts = [loss.detach(), *(p.grad for p in learner.parameters() if p.grad is not None)]
    return [(all_sum(part) / world_size()).flatten().tolist() for part in parts]


def write(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo")
    cut = {"supervised": slice(3) if rank == 0 else slice(3, None)}
    cut["unlabeled"] = slice(1) if rank == 0 else slice(1, None)
    batch = {name: rows[cut[name.split(".")[0]]] for name, rows in batch_of().items()}
    (folder / f"{rank}.json").write_text(json.dumps(loss_and_gradient(batch)))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_uneven_processes_have_the_gradient_of_one(tmp_path: Path) -> None:
    """Rows are mixed within a process, so this holds for what is left when nothing is mixed."""
    in_processes(write, tmp_path)
    expected = loss_and_gradient(batch_of())
    for rank in range(2):
        written = json.loads((tmp_path / f"{rank}.json").read_text())
        for own, one in zip(written, expected, strict=True):
            assert own == pytest.approx(one, rel=1e-6, abs=1e-9)
