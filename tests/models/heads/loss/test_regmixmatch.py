"""RegMixMatch against its public code's rule in NumPy: losses, gradients, partners."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from processes import in_processes
from references.losses import cross_entropy, one_hot, softmax
from references.mixing import regmixmatch
from references.tiny_network import Parameters, TinyNetwork, gradient, parameters_of, predict
from torch import Tensor

from sesemi_like.config.facts import DataFacts
from sesemi_like.distributed import all_sum, world_size
from sesemi_like.learners import Learner, LossTerm
from sesemi_like.learners.reductions import reduce_terms
from sesemi_like.models.heads.loss import RegMixMatchLossHead, Step
from sesemi_like.models.heads.loss.parts import DebiasedLogits, Mixup, ResizeMix, Term
from sesemi_like.models.heads.loss.pseudo_label import LOSSES
from sesemi_like.models.networks import Networks

FIELDS = {"supervised": {"image", "target"}, "unlabeled": {"weak", "strong"}}
POLICY, THRESHOLD = 0.4, 0.5


class Recorded(Mixup):
    """Remembers what was mixed."""

    partners: Tensor
    shares: Tensor

    def __call__(
        self, rows: Tensor, partners: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        mixed, self.shares = super().__call__(rows, partners, generator)
        self.partners = partners
        return mixed, self.shares


class Regularized(Learner):
    def build_networks(self) -> Networks:
        torch.manual_seed(0)
        return Networks({"classifier": TinyNetwork()})

    def build_terms(self) -> dict[str, LossTerm]:
        given = {"policy": POLICY, "threshold": THRESHOLD, **self.settings["head"]}
        return {"regmixmatch": LossTerm(RegMixMatchLossHead(**given))}


def built(**head: Any) -> Regularized:
    learner = Regularized({"head": head})
    learner.make_plan(FIELDS)
    return learner


def batch_of(labeled: int = 3, unlabeled: int = 12, seed: int = 1) -> dict[str, Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    rows = {"supervised.image": labeled, "unlabeled.weak": unlabeled, "unlabeled.strong": unlabeled}
    batch = {
        name: torch.randn(count, 4, generator=drawn, dtype=torch.float64)
        for name, count in rows.items()
    }
    return {**batch, "supervised.target": torch.randint(3, (labeled,), generator=drawn)}


def answers(learner: Regularized, batch: dict[str, Tensor]) -> dict[str, Any]:
    assert learner.plan is not None
    found: dict[str, Any] = learner.plan.run(batch, learner.seed)["regmixmatch"]
    return found


def place_of(row: Tensor, rows: Tensor) -> int:
    """Which of some rows one is."""
    (place,) = (rows == row).all(dim=1).nonzero().flatten().tolist()
    return int(place)


def partners_by_hand(
    batch: dict[str, Tensor], weak: Any, sure: Recorded, unsure: Recorded, same: bool | None
) -> tuple[Any, Any, Any]:
    """Checks whom each row was mixed with: mixed rows, labels of partners, shares of the rows."""
    p = softmax(weak)
    strong, classes, is_sure = batch["unlabeled.strong"], p.argmax(axis=1), p.max(axis=1)
    is_sure = is_sure >= THRESHOLD
    pool = torch.cat([strong, batch["supervised.image"]])
    labels = np.concatenate([classes, batch["supervised.target"].numpy()])
    mixed, others, shares = [], [], []
    for i, row in enumerate(strong):
        by = sure if is_sure[i] else unsure
        partner, share = by.partners[i], float(by.shares[i])
        place = place_of(partner, pool)
        counts = place >= len(strong) or is_sure[place]
        if not is_sure[i] and same and not (counts and labels[place] == classes[i]):
            # Nothing of its class could be drawn.
            candidates = [j for j in range(len(pool)) if j >= len(strong) or is_sure[j]]
            assert all(labels[j] != classes[i] for j in candidates)
            share = 1.0
        else:
            assert counts and not (is_sure[i] and place >= len(strong))
        mixed.append(share * row.numpy() + (1 - share) * partner.numpy())
        shares.append(share)
        others.append(labels[place])
    return np.array(mixed), one_hot(others, 3), np.array(shares)


@pytest.mark.parametrize("weighed_by", ["row", "batch"])
@pytest.mark.parametrize("same", [True, False])
def test_losses_and_gradients_are_those_of_the_rule(same: bool, weighed_by: str) -> None:
    sure = Recorded(1.0, per_row=False, at_least_half=False)
    unsure = Recorded(16.0, per_row=False, at_least_half=False)
    mixing = {"sure_mixing": sure, "unsure_mixing": unsure, "same_class": float(same)}
    learner = built(weighed_by=weighed_by, **mixing)
    network, head = learner.networks.module("classifier"), learner.terms["regmixmatch"].head
    for step in range(3):
        learner.seed, batch = step, batch_of(seed=step)
        outputs, given = answers(learner, batch), parameters_of(network)
        weak = predict(given, batch["unlabeled.weak"].numpy())
        assert 0 < int((softmax(weak).max(axis=1) >= THRESHOLD).sum()) < 12
        rows, labels, shares = partners_by_hand(batch, weak, sure, unsure, same)

        hand = (weak, batch["unlabeled.strong"].numpy(), rows, labels, shares)

        def by_hand(learned: Parameters, hand: Any = hand) -> dict[str, float]:
            weak, strong, rows, labels, shares = hand
            logits = predict(learned, strong), predict(learned, rows)
            by_batch = weighed_by == "batch"
            return regmixmatch(weak, *logits, labels, shares, POLICY, THRESHOLD, by_batch)

        def total(learned: Parameters, by_hand: Any = by_hand) -> float:
            return sum(by_hand(learned).values())

        losses = head(outputs, Step(step, 10, learner.networks, {}))
        reduced = reduce_terms(losses, "mean")
        found_terms = {name: value.item() for name, value in reduced.terms.items()}
        assert found_terms == pytest.approx(by_hand(given), rel=1e-9)
        learner.zero_grad()
        reduced.loss.backward()
        expected = gradient(total, given)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                assert parameter.grad is not None
                found = parameter.grad.numpy()
                np.testing.assert_allclose(found, expected[name], rtol=1e-5, atol=1e-7)
                parameter.sub_(0.1 * parameter.grad)


def test_labeled_rows_are_mixed_with_sure_ones_where_there_are_many() -> None:
    networks = Networks({"classifier": TinyNetwork()})
    for counts, expected in {(100, 90, 110): True, (99, 99, 99): False, (): False}.items():
        head = RegMixMatchLossHead()
        facts = {"supervised": list(counts)} if counts else {}
        head.build(networks, DataFacts(class_counts=facts))
        assert head.mix_labeled == expected
    sure = Recorded(1.0, per_row=False, at_least_half=False)
    learner, batch = built(mix_labeled=True, sure_mixing=sure, unsure_weight=0), batch_of()
    batch["supervised.target"][1] = -1
    outputs = answers(learner, batch)
    labels, rows = (
        outputs["mixed.labels"],
        torch.cat([batch["unlabeled.strong"], batch["supervised.image"]]),
    )
    takes_part = [*labels["sure"].tolist(), True, False, True]
    weak = softmax(outputs["judged"]["logits"])
    known = np.concatenate([one_hot(weak.argmax(axis=1), 3), one_hot([0, 0, 0], 3)])
    known[-3:] = one_hot(batch["supervised.target"].clamp(min=0).numpy(), 3)
    share, total = float(sure.shares[0]), 0.0
    logits = outputs["mixed.rows"]["logits"]
    assert len(logits) == 15
    for i, partner in enumerate(sure.partners):
        place = place_of(partner, rows)
        assert takes_part[place] == takes_part[i]
        target = share * known[i] + (1 - share) * known[place]
        one = cross_entropy([target], logits[i : i + 1].detach().numpy())[0]
        total += takes_part[i] * one / 12
    losses = learner.terms["regmixmatch"].head(outputs, Step(0, 10, learner.networks, {}))
    assert reduce_terms(losses, "mean").terms["mixed"].item() == pytest.approx(total)
    assert set(losses.terms) == {"pseudo_label", "mixed"}


def test_an_unsure_row_without_a_partner_stays_as_it_is() -> None:
    learner = built(threshold=1.0)
    batch = batch_of(labeled=0)
    outputs = answers(learner, batch)
    p = outputs["judged"]["logits"].softmax(dim=1)
    torch.testing.assert_close(outputs["mixed.labels"]["targets"], p)


def test_images_are_pasted() -> None:
    resize = ResizeMix(alpha=1.0)
    head = RegMixMatchLossHead(sure_mixing=resize, unsure_mixing=resize, threshold=0.6)
    logits = torch.tensor([[3.0, 0.0], [0.0, 3.0], [0.1, 0.0]])
    judged = {"aligned": logits, "targets": torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])}
    images = torch.tensor([0.25, 0.5, 0.75])[:, None, None, None].expand(3, 1, 8, 8)
    labeled, target = torch.ones(2, 1, 8, 8), torch.tensor([0, 1])
    classes, seen = {0.25: 0, 0.5: 1}, set()
    for seed in range(40):
        drawn = torch.Generator().manual_seed(seed)
        mixed = head.mix(judged, images, labeled, target, drawn)
        unsure, targets = mixed["rows"][2], mixed["labels"]["targets"][2]
        pasted = unsure[unsure != 0.75]
        share = 1 - len(pasted) / 64
        of_partner = targets - share * logits.softmax(dim=1)[2]
        for value in set(pasted.tolist()):
            seen.add(value)
            assert set(pasted.tolist()) == {value}
            label = classes.get(value, int(of_partner.argmax()))
            np.testing.assert_allclose(of_partner, (1 - share) * np.eye(2)[label], atol=1e-6)
    assert seen == {0.25, 0.5, 1.0}


@pytest.mark.parametrize(("labeled", "unlabeled"), [(1, 1), (0, 1), (4, 0), (0, 0)])
@pytest.mark.parametrize("mix_labeled", [True, False])
def test_one_row_and_no_rows(labeled: int, unlabeled: int, mix_labeled: bool) -> None:
    learner = built(norm="eval", mix_labeled=mix_labeled)
    learner.networks.eval()
    loss = learner.training_step(batch_of(labeled, unlabeled), 0)
    assert loss.isfinite()
    loss.backward()
    assert unlabeled or (mix_labeled and labeled) or loss.item() == 0


def test_processes_are_not_waited_for_in_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    """There they may have different numbers of batches."""
    learner = built(weighed_by="batch")
    learner.eval()
    outputs, head = answers(learner, batch_of()), learner.terms["regmixmatch"].head
    monkeypatch.setattr("sesemi_like.distributed.world_size", lambda: 2)
    terms = head(outputs, Step(5, 10, learner.networks, {})).terms
    labels = outputs["mixed.labels"]
    unsure = ~labels["sure"]
    powers = (labels["confidence"] ** 3)[unsure].double()
    weights = terms["unsure"].weights
    assert weights is not None and unsure.any() and labels["sure"].any()
    np.testing.assert_allclose(weights[unsure], powers.mean().expand(len(powers)), rtol=1e-6)
    assert not weights[~unsure].any()


def test_an_alignment_changes_what_is_learned_from_mixed_rows_too() -> None:
    learner = built(alignment=DebiasedLogits(tau=1.0, momentum=0.0))
    head: Any = learner.terms["regmixmatch"].head
    head.build(learner.networks, DataFacts())
    outputs = answers(learner, batch_of())
    terms = head(outputs, Step(5, 10, learner.networks, {})).terms
    logits = head.alignment.of_learner(outputs["mixed.rows"]["logits"])
    targets = outputs["mixed.labels"]["targets"]
    for name, loss in {"mixed": "cross_entropy", "unsure": "mse"}.items():
        expected = LOSSES[loss](logits, targets)
        torch.testing.assert_close(terms[name].losses, expected)


def test_metrics_tell_how_it_fares() -> None:
    learner = built()
    outputs, head = answers(learner, batch_of()), learner.terms["regmixmatch"].head
    metrics = head.metrics(outputs, head(outputs, Step(5, 10, learner.networks, {})))
    assert {"mask_rate", "confidence", "sure_rate"} <= {*metrics}
    sure = outputs["judged"]["logits"].softmax(dim=1).amax(dim=1) >= THRESHOLD
    assert float(metrics["sure_rate"]) == pytest.approx(float(sure.double().mean()))


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"threshold": 1.5}, "threshold: found 1.5"),
        ({"same_class": -1}, "same_class: found -1"),
        ({"weighed_by": "rows"}, "did you mean 'row'"),
        ({"terms": {"mixed": Term()}}, "terms: found 'mixed'"),
    ],
)
def test_mistakes_are_told(head: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RegMixMatchLossHead(**head)


def loss_and_gradient(batch: dict[str, Tensor]) -> list[list[float]]:
    """Of unmixed rows by running statistics, averaged over processes as DDP does."""
    nothing = {"sure_mixing": Mixup(0.0), "unsure_mixing": Mixup(0.0)}
    found = []
    for weighed_by in ("row", "batch"):
        learner = built(norm="eval", weighed_by=weighed_by, **nothing)
        learner.networks.eval()
        loss = learner.training_step(batch, 0)
        loss.backward()
        parts = [loss.detach(), *(p.grad for p in learner.parameters() if p.grad is not None)]
        found += [(all_sum(part) / world_size()).flatten().tolist() for part in parts]
    return found


def write(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo")
    cut = {"supervised": slice(1) if rank == 0 else slice(1, None)}
    cut["unlabeled"] = slice(4) if rank == 0 else slice(4, None)
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
