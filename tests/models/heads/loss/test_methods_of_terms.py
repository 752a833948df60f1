"""Methods that are the pseudo-label head and its terms, as their files say, against NumPy."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from composing import composed
from references import pseudo_labels as reference
from references.adaptive import flexmatch
from references.losses import fixmatch, softmax
from torch import Tensor, nn

from sesemi_like.config.facts import DataFacts
from sesemi_like.config.instantiate import instantiate
from sesemi_like.learners.forwards import ForwardPlan
from sesemi_like.learners.reductions import reduce_terms
from sesemi_like.models.backbones import SmallConvNet
from sesemi_like.models.heads.loss import PseudoLabelLossHead, Step
from sesemi_like.models.networks import ClassificationNetwork, Networks

CLASSES, ROWS = 5, 12


class FiveClasses(nn.Module):
    num_classes = out_features = CLASSES


def model_of(method: str) -> Any:
    return composed("cifar10", f"method={method}").learner.hparams.model


def built(method: str) -> PseudoLabelLossHead:
    """The head that the method's file says."""
    config = model_of(method).regularization_loss_heads[method]
    head: PseudoLabelLossHead = instantiate(config.head, key="head")
    facts = DataFacts(largest_index={"train.unlabeled": ROWS - 1}, rows={"train.unlabeled": ROWS})
    head.build(Networks({"classifier": FiveClasses()}), facts)
    assert config.reduction == "mean"
    return head


def drawn(step: int, *fields: str, rows: int = 8, scale: float = 4.0) -> dict[Any, Tensor]:
    """Logits of each field, in double precision, of which gradients are taken."""
    generator = torch.Generator().manual_seed(step)
    return {
        (field, "classifier"): (
            scale * torch.randn(rows, CLASSES, generator=generator, dtype=torch.float64)
        ).requires_grad_()
        for field in fields
    }


def arrays(given: dict[Any, Tensor], *fields: str) -> list[Any]:
    return [given[field, "classifier"].detach().numpy() for field in fields]


VIEWS = ("unlabeled.weak", "unlabeled.strong")


@pytest.mark.parametrize("rows", [8, 1])
def test_defixmatch_subtracts_what_fixmatch_makes_of_labelled_images(
    play: Callable[..., Any], rows: int
) -> None:
    head, labelled = built("defixmatch"), ("supervised.image", "supervised.strong")
    for step in range(3):
        given = drawn(step, *VIEWS, *labelled, rows=rows)
        target = torch.zeros(rows, dtype=torch.int64)
        loss = reduce_terms(play(head, {**given, "supervised.target": target}), "mean").loss
        pair = tuple(arrays(given, *VIEWS)), tuple(arrays(given, *labelled))
        assert loss.item() == pytest.approx(reference.defixmatch(*pair, 0.95))


def test_defixmatch_learns_both_views_of_labelled_images_and_weighs_half() -> None:
    model = model_of("defixmatch")
    assert list(model.supervised_loss.views) == ["image", "strong"]
    assert model.regularization_loss_heads.defixmatch.scale_factor == 0.5


@pytest.mark.parametrize("rows", [8, 1])
def test_refixmatch_learns_the_rows_that_fixmatch_leaves_out(
    play: Callable[..., Any], rows: int
) -> None:
    head = built("refixmatch")
    for step in range(3):
        given = drawn(step, *VIEWS, rows=rows)
        reduced = reduce_terms(play(head, given), "mean")
        weak, strong = arrays(given, *VIEWS)
        kept, left_out = reference.refixmatch(weak, strong, 0.95, 0.5)
        assert reduced.terms["pseudo_label"].item() == pytest.approx(kept)
        assert reduced.terms["left_out"].item() == pytest.approx(left_out)
        assert reduced.loss.item() == pytest.approx(kept + left_out)


def test_every_row_of_refixmatch_gets_a_gradient(play: Callable[..., Any]) -> None:
    given = drawn(0, *VIEWS)
    outputs = play(built("refixmatch"), given)
    reduce_terms(outputs, "mean").loss.backward()
    assert 0 < outputs.terms["left_out"].weights.sum() < 8
    assert given["unlabeled.strong", "classifier"].grad.any(dim=1).all()
    assert given["unlabeled.weak", "classifier"].grad is None


def test_sequencematch_links_three_views_over_several_steps(play: Callable[..., Any]) -> None:
    head, names = built("sequencematch"), ("unlabeled.weak", "unlabeled.medium", "unlabeled.strong")
    index = torch.arange(ROWS)
    batches = [drawn(step, *names, rows=ROWS) for step in range(5)]
    weak = [(arrays(given, "unlabeled.weak")[0], index.numpy()) for given in batches]
    masks = [step["mask"] for step in flexmatch(weak, ROWS)]
    assert 0 < sum(map(sum, masks)) < 5 * ROWS
    for given, mask in zip(batches, masks, strict=True):
        reduced = reduce_terms(play(head, {**given, "unlabeled.index": index}), "mean")
        views = arrays(given, *names)
        expected = reference.sequencematch((views[0], views[1], views[2]), mask, 0.95, 0.5)
        assert {n: v.item() for n, v in reduced.terms.items()} == pytest.approx(expected)
        assert reduced.loss.item() == pytest.approx(sum(expected.values()))


def test_the_middle_of_sequencematch_learns_from_the_weak_view_alone(
    play: Callable[..., Any],
) -> None:
    names = ("unlabeled.weak", "unlabeled.medium", "unlabeled.strong")
    given = drawn(0, *names, rows=ROWS)
    outputs = play(built("sequencematch"), {**given, "unlabeled.index": torch.arange(ROWS)})
    reduce_terms(outputs, "mean").loss.backward()
    weak, medium, strong = (given[name, "classifier"].grad for name in names)
    sure = outputs.terms["weak_to_medium"].weights.bool()
    assert weak is None
    assert torch.equal(medium.any(dim=1), sure) and 0 < sure.sum() < ROWS
    assert strong.any()


def test_crmatch_is_fixmatch_with_feature_distance_and_a_deeper_rotation_head() -> None:
    heads = model_of("crmatch").regularization_loss_heads
    assert list(heads) == ["crmatch", "rotation_prediction"]
    assert {config.scale_factor for config in heads.values()} == {1.0}
    head = instantiate(heads.crmatch.head, key="head")
    assert head.policy.threshold.value == 0.95
    assert head.terms["distance"].coefficient == 1
    torch.manual_seed(0)
    classify = nn.Linear(6, CLASSES)
    classify.weight.data.mul_(35)
    network = ClassificationNetwork(SmallConvNet(in_chans=1, widths=(4, 6)), classify)
    networks = Networks({"classifier": network}).double()
    head.build(networks, DataFacts())
    head.double()
    plan = ForwardPlan({"head": head.forwards({})}, networks, heads={"head": head})
    for step in range(3):
        generator = torch.Generator().manual_seed(step)
        weak, strong = torch.randn(2, 8, 1, 8, 8, generator=generator, dtype=torch.float64)
        answers = plan.run({"unlabeled.weak": weak, "unlabeled.strong": strong})["head"]
        reduced = reduce_terms(head(answers, Step(step, 9, networks, {})), "mean")
        logits = [answers[name]["logits"].detach().numpy() for name in ("judged", "learner")]
        weight, bias = (p.detach().numpy() for p in head.terms["distance"].parameters())
        # The maps have 4 x 4 pixels, each of which the grid has four times.
        maps = [
            answers[f"distance.{name}"]["map"].detach().numpy().repeat(2, 2).repeat(2, 3)
            for name in ("teacher", "learner")
        ]
        projected = [m.reshape(8, -1) @ weight.T + bias for m in maps]
        kept = softmax(logits[0]).max(axis=1) >= 0.95
        assert 0 < kept.sum() < 8
        expected = {
            "pseudo_label": fixmatch(logits[0], logits[1], 0.95),
            "distance": float((reference.alikeness(*projected) * kept).mean()),
        }
        assert {n: v.item() for n, v in reduced.terms.items()} == pytest.approx(expected)
        assert reduced.loss.item() == pytest.approx(sum(expected.values()))
