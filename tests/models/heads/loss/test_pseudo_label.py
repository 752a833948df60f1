"""The pseudo-label head with small parts: their order, what each is given, what is learned."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from composing import composed
from references import losses as reference
from references.pseudo_labels import pseudo_label
from torch import Tensor, nn

from sesemi_like.config.facts import DataFacts
from sesemi_like.config.instantiate import instantiate
from sesemi_like.learners.forwards import ForwardPlan
from sesemi_like.learners.reductions import reduce_losses, reduce_terms
from sesemi_like.models.heads.loss import FixMatchLossHead, LossValues, PseudoLabelLossHead, Step
from sesemi_like.models.heads.loss.parts import (
    Alignment,
    Policy,
    Prediction,
    PseudoLabels,
    Reads,
    SharpenedTargets,
    Term,
)
from sesemi_like.models.heads.loss.requests import Forward
from sesemi_like.models.networks import Networks

WEAK, STRONG = ("unlabeled.weak", "classifier"), ("unlabeled.strong", "classifier")
LABELLED = ("supervised.image", "classifier")
HEADS = "learner.hparams.model.regularization_loss_heads"


def drawn(rows: int = 6, seed: int = 0) -> dict[tuple[str, str], Tensor]:
    """Logits of five classes for the weak and the strong view."""
    generator = torch.Generator().manual_seed(seed)
    weak, strong = torch.randn(2, rows, 5, generator=generator)
    return {WEAK: 3 * weak, STRONG: strong}


class Shifted(Alignment):
    """Adds what it has seen of a class, and remembers when it was asked for what."""

    seen: Tensor

    def __init__(self, calls: list[str]) -> None:
        super().__init__()
        self.calls = calls
        self.register_buffer("seen", torch.zeros(5))

    def update(self, prediction: Prediction) -> None:
        assert prediction.alignment is None, "an alignment is given what is not aligned yet"
        self.calls.append("alignment.update")
        self.seen += prediction.logits.mean(dim=0)

    def forward(self, prediction: Prediction) -> Tensor:
        self.calls.append("alignment")
        return prediction.logits - self.seen

    def of_learner(self, logits: Tensor) -> Tensor:
        return logits + self.seen


class Above(Policy):
    """Weighs rows by whether they are surer than those of the batches before."""

    least: Tensor

    def __init__(self, calls: list[str], targets: nn.Module | None = None) -> None:
        super().__init__()
        self.calls, self.targets = calls, targets
        self.register_buffer("least", torch.tensor(0.3))

    def update(self, prediction: Prediction) -> None:
        self.calls.append("policy.update")
        self.given = prediction
        self.least += 0.1

    def forward(self, prediction: Prediction) -> Tensor:
        self.calls.append("policy")
        return (prediction.confidence >= self.least).to(prediction.confidence.dtype)

    def follow(self, prediction: Prediction, weights: Tensor) -> None:
        self.calls.append("follow")
        self.least += 0.1 * weights.mean()

    def metrics(self) -> dict[str, Tensor]:
        return {"least": self.least.clone()}


class Squares(Term):
    """The square of the learner's first logit, for the rows that count."""

    def forward(self, labels: PseudoLabels, outputs: Mapping[str, Any]) -> LossValues:
        return LossValues(labels.learner[:, 0].square(), labels.weights)


class OnOthers(Term):
    """What the judge says of labeled rows, and a field that it asks for itself."""

    def forwards(self, reads: Reads) -> dict[str, Forward]:
        return {"labelled": reads.labelled, "index": reads.needed("index")}

    def forward(self, labels: PseudoLabels, outputs: Mapping[str, Any]) -> Tensor:
        self.targets, self.weights = labels.judge(outputs["labelled"]["logits"])
        self.index = outputs["index"]
        return labels.learner.sum(dim=1)


def test_parts_are_asked_in_the_order_of_the_sentence(play: Callable[..., Any]) -> None:
    calls: list[str] = []
    head = PseudoLabelLossHead(alignment=Shifted(calls), policy=Above(calls))
    for seed in range(3):
        calls.clear()
        play(head, drawn(seed=seed))
        assert calls == ["alignment.update", "alignment", "policy.update", "policy", "follow"]


def test_state_moves_in_training_alone(play: Callable[..., Any]) -> None:
    calls: list[str] = []
    head = PseudoLabelLossHead(alignment=Shifted(calls), policy=Above(calls))
    play(head, drawn())
    before = {name: value.clone() for name, value in head.state_dict().items()}
    calls.clear()
    head.eval()
    play(head, drawn(seed=1))
    assert calls == ["alignment", "policy"]
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())


def test_several_steps_follow_their_state(play: Callable[..., Any]) -> None:
    head = PseudoLabelLossHead(alignment=Shifted([]), policy=Above([]))
    seen, least = np.zeros(5), 0.3
    for seed in range(4):
        given = drawn(seed=seed)
        outputs = play(head, given)
        weak, strong = given[WEAK].double().numpy(), given[STRONG].double().numpy()
        seen = seen + weak.mean(axis=0)
        p = reference.softmax(weak - seen)
        least += 0.1
        weights = (p.max(axis=1) >= least).astype(float)
        least += 0.1 * weights.mean()
        targets = reference.one_hot(p.argmax(axis=1), 5)
        losses = reference.cross_entropy(targets, strong + seen)
        np.testing.assert_allclose(outputs.weights, weights)
        np.testing.assert_allclose(outputs.losses, losses, rtol=1e-4)
        assert outputs.metrics["least"].item() == pytest.approx(least)


@pytest.mark.parametrize("aligned_targets", [True, False])
def test_targets_are_of_the_aligned_logits_or_not(
    play: Callable[..., Any], aligned_targets: bool
) -> None:
    given = {WEAK: torch.tensor([[2.0, 1, 0, 0, 0]]), STRONG: torch.zeros(1, 5)}

    class Favours(Alignment):
        def forward(self, prediction: Prediction) -> Tensor:
            return prediction.logits + torch.tensor([0.0, 9, 0, 0, 0])

    head = PseudoLabelLossHead(
        alignment=Favours(), aligned_targets=aligned_targets, policy=0.99, loss="mse"
    )
    outputs = play(head, given)
    assert outputs.weights.tolist() == [1], "the policy judges what is aligned in either case"
    judged = head.judge({"logits": given[WEAK]})
    assert judged["targets"].argmax().item() == int(aligned_targets)


@pytest.mark.parametrize("name", ["cross_entropy", "kl", "mse"])
@pytest.mark.parametrize("rows", [7, 1])
def test_losses_are_those_of_their_names(play: Callable[..., Any], name: str, rows: int) -> None:
    given = drawn(rows)
    head = PseudoLabelLossHead(targets=SharpenedTargets(0.5), policy=0.0, loss=name)
    weak, strong = 2 * given[WEAK].double().numpy(), given[STRONG].double().numpy()
    expected = {
        "cross_entropy": reference.cross_entropy(reference.softmax(weak), strong),
        "kl": reference.kullback_leibler(strong, weak),
        "mse": reference.squared_difference(strong, weak),
    }[name]
    np.testing.assert_allclose(play(head, given).losses, expected, rtol=1e-4)


def test_targets_are_the_heads_own_or_else_the_policys(play: Callable[..., Any]) -> None:
    soft, sharp = SharpenedTargets(1.0), SharpenedTargets(0.1)
    assert PseudoLabelLossHead(policy=Above([], targets=soft)).targets is soft
    assert PseudoLabelLossHead(policy=Above([], targets=soft), targets=sharp).targets is sharp


def test_terms_are_reduced_over_their_rows_and_have_their_coefficient(
    play: Callable[..., Any],
) -> None:
    given = drawn()
    head = PseudoLabelLossHead(policy=0.6, terms={"squares": Squares(coefficient=-0.5)})
    outputs = play(head, given)
    assert set(outputs.terms) == {"pseudo_label", "squares"}
    probabilities = reference.softmax(given[WEAK].numpy())
    kept = probabilities.max(axis=1) >= 0.6
    assert 0 < kept.sum() < 6
    squares = (given[STRONG][:, 0].numpy() ** 2 * kept).mean()
    alone = play(PseudoLabelLossHead(policy=0.6), given)
    expected = reduce_losses(alone, "mean").item() - 0.5 * squares
    assert reduce_terms(outputs, "mean").loss.item() == pytest.approx(expected, rel=1e-5)


def test_other_rows_are_judged_without_a_change_of_state(play: Callable[..., Any]) -> None:
    calls: list[str] = []
    alignment, policy, term = Shifted(calls), Above(calls), OnOthers()
    head = PseudoLabelLossHead(alignment=alignment, policy=policy, terms={"others": term})
    labelled = torch.tensor([[4.0, 0, 0, 0, 0], [0.0, 0, 0, 0, 0]])
    index = torch.arange(6)
    play(head, {**drawn(), LABELLED: labelled, "unlabeled.index": index})
    assert calls[-2:] == ["alignment", "policy"]
    assert calls.count("alignment.update") == calls.count("policy.update") == 1
    shifted = (labelled - alignment.seen).double().numpy()
    assert term.targets.argmax(dim=1).tolist() == shifted.argmax(axis=1).tolist()
    kept = reference.softmax(shifted).max(axis=1) >= policy.least.item()
    assert term.weights.tolist() == kept.astype(float).tolist()
    assert term.index is index


def test_gradients_reach_the_rows_that_count_and_no_teacher(play: Callable[..., Any]) -> None:
    given = {key: value.requires_grad_() for key, value in drawn().items()}
    outputs = play(PseudoLabelLossHead(policy=0.6, alignment=Shifted([])), given)
    reduce_losses(outputs, "mean").backward()
    assert given[WEAK].grad is None
    reached = given[STRONG].grad.any(dim=1)
    assert torch.equal(reached, outputs.weights.bool())
    assert 0 < reached.sum() < 6


@pytest.mark.parametrize("need", ["index", "uniform", "labelled", "target"])
def test_a_part_is_given_what_it_names(play: Callable[..., Any], need: str) -> None:
    class Needs(Above):
        needs = (need,)

    policy = Needs([])
    given: dict[Any, Tensor] = {
        **drawn(),
        LABELLED: torch.ones(2, 5),
        "unlabeled.index": torch.tensor([3, 1, 4, 1, 5, 9]),
        "supervised.target": torch.tensor([0, -1]),
    }
    play(PseudoLabelLossHead(policy=policy), given)
    found = {n: getattr(policy.given, n) for n in ("index", "uniform", "labelled", "target")}
    assert [name for name, value in found.items() if value is not None] == [need]
    if need == "uniform":
        assert found[need].shape == (6,)
        assert ((found[need] >= 0) & (found[need] < 1)).all()
    else:
        fields = {"index": "unlabeled.index", "labelled": LABELLED, "target": "supervised.target"}
        assert torch.equal(found[need], given[fields[need]])


class Rows(nn.Module):
    """Answers its rows as logits, times a weight, and counts its calls."""

    num_classes = out_features = 5

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.calls = 0

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        return {"features": rows, "logits": self.weight * rows}


def of_plan(head: PseudoLabelLossHead, batch: Mapping[str, Tensor]) -> tuple[Any, Rows]:
    network = Rows().to(batch["unlabeled.weak"].dtype)
    networks = Networks({"classifier": network})
    head.build(networks, DataFacts())
    answers = ForwardPlan({"head": head.forwards({})}, networks, heads={"head": head}).run(batch)
    return head(answers["head"], Step(0, None, networks, {})), network


@pytest.mark.parametrize("norm", ["update", "batch"])
def test_one_view_of_one_network_is_run_once(norm: str) -> None:
    norms: Any = {"teacher_norm": norm, "learner_norm": norm}
    head = PseudoLabelLossHead(learner_view="weak", policy=0.0, **norms)
    outputs, network = of_plan(head, {"unlabeled.weak": drawn()[WEAK]})
    assert network.calls == 1
    reduce_losses(outputs, "mean").backward()
    assert network.weight.grad != 0


@pytest.mark.parametrize("rows", [6, 1, 0])
def test_the_loss_is_as_exact_as_the_logits(rows: int) -> None:
    terms = {"squares": Squares(0.1)}
    head = PseudoLabelLossHead(alignment=Shifted([]), policy=Above([]), terms=terms).double()
    batch = {key[0]: value.double() for key, value in drawn(rows).items()}
    outputs, network = of_plan(head, batch)
    loss = reduce_terms(outputs, "mean").loss
    assert loss.dtype == torch.float64
    loss.backward()
    assert network.weight.grad.isfinite()
    assert rows or loss.item() == 0


def test_fixmatch_is_the_same_said_in_parts(play: Callable[..., Any]) -> None:
    config = {
        "_target_": "sesemi_like.models.heads.loss.PseudoLabelLossHead",
        "teacher_view": "weak",
        "learner_view": "strong",
        "targets": {"_target_": "sesemi_like.models.heads.loss.parts.HardTargets"},
        "policy": {
            "_target_": "sesemi_like.models.heads.loss.parts.FixedPolicy",
            "threshold": 0.6,
        },
    }
    of_parts, fixmatch = instantiate(config, key="head"), FixMatchLossHead(threshold=0.6)
    assert of_parts.forwards({}) == fixmatch.forwards({})
    for seed in range(3):
        first, second = (play(head, drawn(seed=seed)) for head in (of_parts, fixmatch))
        assert torch.equal(first.losses, second.losses)
        assert torch.equal(first.weights, second.weights)
        assert first.metrics.keys() == second.metrics.keys()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"loss: found 'ce'; .*cross_entropy"):
        PseudoLabelLossHead(loss="ce")
    with pytest.raises(ValueError, match=r"threshold: found 1.5; .*\[0, 1\]"):
        PseudoLabelLossHead(policy=1.5)
    with pytest.raises(ValueError, match=r"terms: found 'pseudo_label', .*rename"):
        PseudoLabelLossHead(terms={"pseudo_label": Squares()})


# Pseudo-Label itself, Lee 2013.


def the_method(*overrides: str) -> Any:
    config = composed("cifar10", "method=pseudo_label", *overrides)
    return config.learner.hparams.model.regularization_loss_heads.pseudo_label


def built_method(*overrides: str) -> PseudoLabelLossHead:
    head: PseudoLabelLossHead = instantiate(the_method(*overrides).head, key="head")
    return head


def test_the_method_learns_every_row_from_its_own_view() -> None:
    rows = drawn()[WEAK].double()
    outputs, network = of_plan(built_method(), {"unlabeled.weak": rows})
    assert network.calls == 1
    assert outputs.weights.tolist() == [1] * 6
    expected = pseudo_label(rows.numpy(), 0.0)
    assert reduce_losses(outputs, "mean").item() == pytest.approx(expected)


def test_the_methods_threshold_is_that_of_the_public_code_on_request() -> None:
    rows = drawn()[WEAK].double()
    head = built_method(f"{HEADS}.pseudo_label.head.policy=0.6")
    outputs, _ = of_plan(head, {"unlabeled.weak": rows})
    assert 0 < outputs.weights.sum() < 6
    expected = pseudo_label(rows.numpy(), 0.6)
    assert reduce_losses(outputs, "mean").item() == pytest.approx(expected)


def test_the_methods_weight_is_that_of_the_paper() -> None:
    config = the_method()
    schedule = instantiate({**config.scheduler, "max_iterations": 1000}, key="scheduler")
    weights = [config.scale_factor * schedule(step) for step in (0, 100, 350, 600, 999)]
    assert weights == pytest.approx([0, 0, 1.5, 3, 3])


def test_the_methods_running_statistics_are_of_labelled_rows_alone() -> None:
    requests = built_method().forwards({})
    assert requests["learner"].norm == "batch"
