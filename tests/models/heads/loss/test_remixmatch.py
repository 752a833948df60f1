"""ReMixMatch against its algorithm in NumPy: losses, gradients and state, over several steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from processes import in_processes
from references.losses import one_hot, softmax
from references.mixing import (
    labels_of,
    mean_cross_entropy,
    mix_rows,
    remixmatch_guess,
    turn,
)
from references.tiny_network import (
    Parameters,
    TinyNetwork,
    features,
    gradient,
    predict,
)
from torch import Tensor
from torch.nn.functional import cross_entropy

from sesemi_like.config.facts import DataFacts
from sesemi_like.distributed import all_sum, world_size
from sesemi_like.learners import Learner, LossTerm
from sesemi_like.learners.reductions import reduce_terms
from sesemi_like.models.heads.loss import ReMixMatchLossHead, Step
from sesemi_like.models.heads.loss.parts import AverageAlignment, DebiasedLogits, Mixup
from sesemi_like.models.networks import Networks
from sesemi_like.schedulers import LinearSchedule

VIEWS = ("weak", "strong", "strong_2")
FIELDS = {"supervised": {"strong", "target"}, "unlabeled": {*VIEWS}}
COUNTS = (5.0, 2.0, 1.0)


class Mixing(Learner):
    def build_networks(self) -> Networks:
        torch.manual_seed(0)
        return Networks({"classifier": TinyNetwork()})

    def build_terms(self) -> dict[str, LossTerm]:
        alignment = AverageAlignment(target=COUNTS, momentum=0.9, initial="uniform")
        head = ReMixMatchLossHead(alignment=alignment, **self.settings["head"])
        return {"remixmatch": LossTerm(head)}


def built(**head: Any) -> Mixing:
    learner = Mixing({"head": head}).double()
    learner.make_plan(FIELDS)
    return learner


def batch_of(
    labeled: int = 3, unlabeled: int = 5, seed: int = 1, shape: tuple[int, ...] = (1, 2, 2)
) -> dict[str, Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    rows = {"supervised.strong": labeled, **{f"unlabeled.{view}": unlabeled for view in VIEWS}}
    batch = {
        name: torch.randn(count, *shape, generator=drawn, dtype=torch.float64)
        for name, count in rows.items()
    }
    return {**batch, "supervised.target": torch.randint(3, (labeled,), generator=drawn)}


def answers(learner: Mixing, batch: dict[str, Tensor]) -> dict[str, Any]:
    assert learner.plan is not None
    found: dict[str, Any] = learner.plan.run(batch, learner.seed)["remixmatch"]
    return found


def loss_by_hand(
    learned: Parameters,
    given: Parameters,
    batch: dict[str, Tensor],
    predicted: Any,
    drawn: dict[str, Any],
    ramp: float,
) -> float:
    """Algorithm 1 and equation 2; `given` guesses the labels, `learned` is learned."""
    views = [batch[f"unlabeled.{view}"].numpy() for view in VIEWS]
    flat = [view.reshape(-1, 4) for view in views]
    labels = np.array(COUNTS) / sum(COUNTS)
    guess = remixmatch_guess(predict(given, flat[0]), predicted, labels, 0.5)
    images = batch["supervised.strong"].numpy().reshape(-1, 4)
    how = drawn["shares"].numpy(), drawn["others"].numpy()
    rows = mix_rows(np.concatenate([images, *flat]), *how)
    mixed = mix_rows(labels_of(batch["supervised.target"].numpy(), guess, len(views)), *how)
    logits, count = predict(learned, rows), len(images)
    turned = [turn(i, k) for i, k in zip(views[1], drawn["turns"].tolist(), strict=True)]
    inner = features(learned, np.array(turned).reshape(-1, 4))
    turns = inner @ learned["rotate.weight"].T + learned["rotate.bias"]
    return (
        mean_cross_entropy(mixed[:count], logits[:count])
        + 1.5 * ramp * mean_cross_entropy(mixed[count:], logits[count:])
        + 0.5 * ramp * mean_cross_entropy(guess, predict(learned, flat[1]))
        + 0.5 * mean_cross_entropy(one_hot(drawn["turns"], 4), turns)
    )


def test_losses_gradients_and_state_are_those_of_the_algorithm() -> None:
    ramp = LinearSchedule(duration=3)
    learner = built(schedule=ramp, rotation_weight=0.5)
    head: Any = learner.terms["remixmatch"].head
    network = learner.networks.module("classifier")
    learned = {**dict(network.named_parameters())}
    learned |= {f"rotate.{name}": p for name, p in head.rotate.named_parameters()}
    predicted = np.full(3, 1 / 3)
    for step in range(3):
        learner.seed, batch = step, batch_of(seed=step)
        given = {name: p.detach().numpy().copy() for name, p in learned.items()}
        weak = softmax(predict(given, batch["unlabeled.weak"].reshape(-1, 4).numpy()))
        predicted = 0.9 * predicted + 0.1 * weak.mean(axis=0)
        outputs = answers(learner, batch)
        drawn = {**outputs["labels"], "turns": outputs["turns"]}
        hand = (given, batch, predicted, drawn, ramp(step))

        def by_hand(learned: Parameters, hand: Any = hand) -> float:
            return loss_by_hand(learned, *hand)

        losses = head(outputs, Step(step, 10, learner.networks, {}))
        loss = reduce_terms(losses, "mean").loss
        state = head.alignment.predicted.value.numpy()
        np.testing.assert_allclose(state, predicted, rtol=1e-6)  # it begins in float32
        assert loss.item() == pytest.approx(by_hand(given), rel=1e-6)
        learner.zero_grad()
        loss.backward()
        expected = gradient(by_hand, given)
        with torch.no_grad():
            for name, parameter in learned.items():
                assert parameter.grad is not None
                found = parameter.grad.numpy()
                np.testing.assert_allclose(found, expected[name], rtol=1e-5, atol=1e-7)
                parameter.sub_(0.1 * parameter.grad)


def test_images_are_turned_counter_clockwise_by_drawn_quarters() -> None:
    images = torch.arange(200 * 9, dtype=torch.float64).reshape(200, 1, 3, 3)
    turned = ReMixMatchLossHead().turn(images, torch.Generator().manual_seed(0))
    turns = turned["turns"].tolist()
    assert {turns.count(k) > 30 for k in range(4)} == {True}
    for image, k, found in zip(images, turns, turned["images"], strict=True):
        np.testing.assert_array_equal(found.numpy(), turn(image.numpy(), k))
        np.testing.assert_array_equal(found.numpy(), np.rot90(image.numpy(), k, (1, 2)))


@pytest.mark.parametrize("shape", [(4,), (1, 4, 1)])
def test_rows_that_cannot_be_turned_are_told(shape: tuple[int, ...]) -> None:
    learner = built(rotation_weight=0.5)
    with pytest.raises(ValueError, match=r"needs square images .* or rotation_weight: 0"):
        answers(learner, batch_of(shape=shape))


def test_terms_of_weight_zero_are_not_asked_for() -> None:
    learner = built(strong_weight=0)
    batch = batch_of(shape=(4,))
    outputs = answers(learner, batch)
    head = learner.terms["remixmatch"].head
    losses = head(outputs, Step(0, 10, learner.networks, {}))
    assert set(losses.terms) == {"labeled", "unlabeled"}
    assert set(outputs) == {"guess", "labels", "rows"}
    assert not hasattr(head, "rotate")


def test_the_alignment_stays_in_evaluation_and_is_in_checkpoints() -> None:
    learner = built()
    answers(learner, batch_of())
    state = {name: value.clone() for name, value in learner.state_dict().items()}
    (name,) = (name for name in state if name.endswith("predicted.value"))
    learner.eval()
    answers(learner, batch_of(seed=3))
    assert torch.equal(learner.state_dict()[name], state[name])
    other = built()
    other.load_state_dict(state)
    for each in (learner.train(), other.train()):
        answers(each, batch_of(seed=4))
    assert torch.equal(learner.state_dict()[name], other.state_dict()[name])


@pytest.mark.parametrize("batches", ["together", "separate"])
def test_statistics_move_once(batches: str) -> None:
    learner = built(batches=batches, rotation_weight=0.5)
    learner.training_step(batch_of(), 0)
    network: Any = learner.networks["classifier"]
    assert int(network.norm.num_batches_tracked) == 1


@pytest.mark.parametrize(("labeled", "unlabeled"), [(1, 1), (0, 1), (4, 0), (0, 0)])
def test_one_row_and_no_rows(labeled: int, unlabeled: int) -> None:
    learner = built(norm="eval", rotation_weight=0.5)
    loss = learner.training_step(batch_of(labeled, unlabeled), 0)
    assert loss.isfinite()
    loss.backward()
    assert (loss.item() == 0) == (labeled + unlabeled == 0)


def test_metrics_tell_how_it_fares() -> None:
    learner = built(rotation_weight=0.5, schedule=LinearSchedule(duration=10))
    outputs, head = answers(learner, batch_of()), learner.terms["remixmatch"].head
    metrics = head.metrics(outputs, head(outputs, Step(5, 10, learner.networks, {})))
    assert {*metrics} == {"top1", "confidence", "unlabeled_weight", "rotation_top1"}
    assert float(metrics["unlabeled_weight"]) == 0.75
    assert all(0 <= float(value) <= 1 for value in metrics.values())


def test_no_strong_view_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="strong: found no view"):
        ReMixMatchLossHead(strong=())


def test_it_builds_without_an_alignment() -> None:
    head = ReMixMatchLossHead()
    head.build(Networks({"classifier": TinyNetwork()}), DataFacts())
    guess = head.guess({"logits": torch.tensor([[2.0, 0.0, 1.0]])})
    assert guess.tolist() == [pytest.approx(softmax([[4.0, 0.0, 2.0]])[0].tolist())]


def test_an_alignment_changes_what_is_learned_as_well() -> None:
    learner = built()
    head: Any = learner.terms["remixmatch"].head
    outputs = answers(learner, batch_of())
    plain = head(outputs, Step(0, 10, learner.networks, {})).terms
    head.alignment = DebiasedLogits(tau=1.0)
    head.build(learner.networks, DataFacts())
    shares = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    head.alignment.predicted.value = shares
    debiased = head(outputs, Step(0, 10, learner.networks, {})).terms
    targets = outputs["guess"]
    expected = cross_entropy(outputs["strong"]["logits"] + shares.log(), targets, reduction="none")
    torch.testing.assert_close(debiased["strong"].losses, expected)
    assert not torch.allclose(debiased["unlabeled"].losses, plain["unlabeled"].losses)
    assert torch.equal(debiased["labeled"].losses, plain["labeled"].losses)


def figures(batch: dict[str, Tensor]) -> dict[str, Any]:
    """Loss, gradient and buffers of unmixed rows, averaged over processes as DDP does."""
    learner = built(mixing=Mixup(0.0), norm="eval")
    learner.networks.eval()
    loss = learner.training_step(batch, 0)
    loss.backward()
    parts = [loss.detach(), *(p.grad for p in learner.parameters() if p.grad is not None)]
    head: Any = learner.terms["remixmatch"].head
    return {
        "averaged": [(all_sum(part) / world_size()).flatten().tolist() for part in parts],
        "predicted": [head.alignment.predicted.value.tolist()],
    }


def write(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo")
    cut = {"supervised": slice(1) if rank == 0 else slice(1, None)}
    cut["unlabeled"] = slice(4) if rank == 0 else slice(4, None)
    batch = {name: rows[cut[name.split(".")[0]]] for name, rows in batch_of().items()}
    (folder / f"{rank}.json").write_text(json.dumps(figures(batch)))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_uneven_processes_have_the_gradient_and_the_state_of_one(tmp_path: Path) -> None:
    """Rows are mixed within a process: equal gradients are of what is left when nothing is."""
    in_processes(write, tmp_path)
    expected = figures(batch_of())
    for rank in range(2):
        written = json.loads((tmp_path / f"{rank}.json").read_text())
        for name, parts in expected.items():
            for own, one in zip(written[name], parts, strict=True):
                assert own == pytest.approx(one, rel=1e-6, abs=1e-9)
