"""What of a learner is evaluated: by the fields of a loader, by what is needed, once."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sesemi_like.learners import Learner, LossTerm
from sesemi_like.learners.evaluated import evaluation_mode, predict_samples
from sesemi_like.models.heads.loss.base import Forward, LossHead, LossOutputs, LossValues
from sesemi_like.models.networks import Networks

ROWS, WIDTH = 6, 3


class Encoder(nn.Module):
    """Doubles its rows, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))
        self.calls = 0

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        return {"features": rows * self.weight}


class SquareLossHead(LossHead):
    """The mean square of a field's features, and of one feature alone, twice as important."""

    seen: Tensor

    def __init__(self, loader: str = "pairs", *fields: str) -> None:
        super().__init__()
        self.loader, self.fields = loader, fields or ("image",)
        self.register_buffer("seen", torch.tensor(0))

    def forwards(self, fields: Any) -> Any:
        names = {
            field: field if "." in field else f"{self.loader}.{field}" for field in self.fields
        }
        return {field: Forward(name, "image_encoder") for field, name in names.items()}

    def forward(self, outputs: Any, step: Any) -> LossOutputs:
        assert f"{self.loader}.index" in step.batch
        self.seen = self.seen + 1  # another buffer, not another value of it
        features = outputs[self.fields[0]]["features"]
        terms = {
            "all": LossValues(features.square().mean(dim=1), coefficient=0.5),
            "first": LossValues(features[:, 0], weights=features[:, 1].abs(), coefficient=2.0),
        }
        return LossOutputs(terms)


class CrossLossHead(LossHead):
    """A loss that has no row for each sample: one for every second."""

    def forwards(self, fields: Any) -> Any:
        return {"image": Forward("pairs.image", "image_encoder")}

    def forward(self, outputs: Any, step: Any) -> LossOutputs:
        return LossOutputs(outputs["image"]["features"][::2, 0])


class MeanLossHead(LossHead):
    """One number of all rows, which no reduction changes."""

    def forwards(self, fields: Any) -> Any:
        return {"image": Forward("pairs.image", "image_encoder")}

    def forward(self, outputs: Any, step: Any) -> LossOutputs:
        mean = outputs["image"]["features"].mean()
        return LossOutputs({"mean": LossValues(mean, coefficient=0.3, reduced=True)})


class TwoFields(Learner):
    def build_networks(self) -> Networks:
        return Networks({"image_encoder": Encoder(), "text_encoder": Encoder()})

    def build_terms(self) -> dict[str, LossTerm]:
        reduction = self.settings.get("reduction", "mean")
        heads = self.settings.get("heads", {"square": SquareLossHead()})
        return {
            name: LossTerm(head, scale_factor=3.0, reduction=reduction, key=name)
            for name, head in heads.items()
        }

    def evaluated_forwards(self) -> dict[str, Forward]:
        return {
            "image": Forward("image", "image_encoder", grad=False),
            "text": Forward("text", "text_encoder", grad=False),
        }

    def given(self, fields: Any) -> dict[Forward, str]:
        return {
            Forward(f"{loader}.text", "text_encoder"): f"{loader}.latent"
            for loader, names in fields.items()
            if "latent" in names
        }


def learner(**settings: Any) -> Any:
    built: Any = TwoFields({"optimizer": {"_target_": "torch.optim.SGD", "lr": 1}}, build=False)
    built.settings |= settings  # heads are no plain values
    built.configure_model()
    return built.eval()


def batch(start: int = 0, rows: int = ROWS, **fields: Any) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(start)
    image = torch.randn(rows, WIDTH, generator=generator)
    return {"index": torch.arange(start, start + rows), "image": image, **fields}


def calls(of: Any) -> dict[str, int]:
    return {name: of.networks[name].calls for name in ("image_encoder", "text_encoder")}


def test_a_loader_is_evaluated_by_the_requests_that_its_fields_allow() -> None:
    found = learner()
    assert set(found.predict_batch(batch())) == {"image"}
    text = torch.ones(ROWS, WIDTH)
    assert list(found.predict_batch(batch(text=text))) == ["image", "text"]
    assert list(found.predict_batch(batch(text=text), ["text"])) == ["text"]
    assert found.predict_batch({"index": torch.arange(2)}) == {}


def test_what_nobody_needs_is_not_run() -> None:
    found, both = learner(), batch(text=torch.ones(ROWS, WIDTH))
    predict_samples(found, both, None)
    assert calls(found) == {"image_encoder": 1, "text_encoder": 1}
    kept = predict_samples(found, both, {"text.features"})
    assert calls(found) == {"image_encoder": 1, "text_encoder": 2}
    assert set(kept.outputs) == {"text"}
    assert predict_samples(found, both, {"unknown"}).outputs == {}
    assert calls(found) == {"image_encoder": 1, "text_encoder": 2}


def test_what_a_field_answers_is_read() -> None:
    found, latent = learner(), {"features": torch.full((ROWS, WIDTH), 7.0)}
    predictions = predict_samples(found, batch(latent=latent), {"features", "latent"})
    assert calls(found) == {"image_encoder": 1, "text_encoder": 0}
    assert torch.equal(predictions.of("features")["text"], latent["features"])
    assert torch.equal(predictions.columns["latent"]["features"], latent["features"])


def test_rows_that_lack_a_field_have_no_prediction_of_it() -> None:
    partly = batch(text=torch.ones(2, WIDTH)) | {"text.row": torch.tensor([1, 4])}
    predictions = predict_samples(learner(), partly, {"features"})
    assert [row is None for row in predictions.of("features")["text"]] == [
        True, False, True, True, False, True
    ]  # fmt: skip
    assert predictions.of("features")["image"].shape == (ROWS, WIDTH)


def losses_of(found: Any, *batches: Any) -> dict[str, Tensor]:
    parts = [predict_samples(found, given, {"losses"}) for given in batches]
    of_head = [part.outputs["losses"]["square"] for part in parts]
    return {name: torch.cat([terms[name] for terms in of_head]) for name in of_head[0]}


def test_every_term_of_a_head_is_measured_row_by_row_and_weighted_as_in_training() -> None:
    batches = batch(0, 6), batch(6, 4)
    rows = torch.cat([given["image"] for given in batches]).double() * 2
    found = losses_of(learner(), *batches)
    mean = found["all"][:, 0].sum() / found["all"][:, 1].sum()
    assert mean.item() == pytest.approx(rows.square().mean().item())
    weighted = (rows[:, 0] * rows[:, 1].abs()).mean().item()
    first = found["first"][:, 0].sum() / found["first"][:, 1].sum()
    assert first.item() == pytest.approx(weighted)
    assert found["all"][:, 2:].unique(dim=0).tolist() == [[0.5, 3.0]]
    assert found["first"][:, 2:].unique(dim=0).tolist() == [[2.0, 3.0]]


@pytest.mark.parametrize("reduction", ["weighted_mean", "sum"])
def test_other_reductions_are_exact_too(reduction: str) -> None:
    batches = batch(0, 6), batch(6, 4)
    rows = torch.cat([given["image"] for given in batches]).double() * 2
    found = losses_of(learner(reduction=reduction), *batches)["first"]
    total, weights = (rows[:, 0] * rows[:, 1].abs()).sum(), rows[:, 1].abs().sum()
    expected = total / weights if reduction == "weighted_mean" else total / len(batches)
    assert (found[:, 0].sum() / found[:, 1].sum()).item() == pytest.approx(expected.item())


def test_losses_without_a_row_per_sample_are_spread_over_the_batch() -> None:
    given = batch(0, 5)
    (terms,) = predict_samples(
        learner(heads={"cross": CrossLossHead()}), given, {"losses"}
    ).outputs["losses"].values()  # fmt: skip
    rows = terms["loss"]
    assert rows.shape == (5, 4)
    assert rows[:, 1].sum().item() == pytest.approx(3)
    expected = 2 * given["image"][::2, 0].double().sum().item()
    assert rows[:, 0].sum().item() == pytest.approx(expected)


@pytest.mark.parametrize("reduction", ["mean", "weighted_mean", "sum"])
def test_a_number_of_all_rows_is_averaged_over_samples(reduction: str) -> None:
    found = learner(heads={"square": MeanLossHead()}, reduction=reduction)
    batches = batch(0, 6), batch(6, 4)
    rows = losses_of(found, *batches)["mean"]
    expected = 2 * torch.cat([given["image"] for given in batches]).double().mean().item()
    assert (rows[:, 0].sum() / rows[:, 1].sum()).item() == pytest.approx(expected)
    assert rows[:, 2:].tolist() == [[pytest.approx(0.3), 3.0]] * 10


def test_a_head_and_an_evaluator_share_a_forward_and_state_stays() -> None:
    found = learner()
    predictions = predict_samples(found, batch(), {"losses", "features"})
    assert set(predictions.outputs) == {"image", "losses"}
    assert calls(found)["image_encoder"] == 1
    assert found.terms["square"].head.seen == 0


class CountingLossHead(LossHead):
    """Counts the calls of its method, which a request goes through."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.tensor(0))

    def forwards(self, fields: Any) -> Any:
        return {"count": Forward(Forward("pairs.image", "image_encoder"), "self.count")}

    def count(self, answer: Any) -> Tensor:
        self.seen += 1
        return answer["features"][:, 0] * self.seen

    def forward(self, outputs: Any, step: Any) -> LossOutputs:
        return LossOutputs(outputs["count"])


def test_the_state_of_a_head_stays_where_its_methods_change_it() -> None:
    found = learner(heads={"square": CountingLossHead()})
    first, second = (losses_of(found, batch())["loss"] for _ in range(2))
    assert torch.equal(first, second)
    assert found.terms["square"].head.seen == 0


def test_heads_that_the_data_cannot_satisfy_are_left_out_and_named() -> None:
    heads = {
        "square": SquareLossHead(),
        "weak": SquareLossHead("pairs", "image", "weak"),
        "two": SquareLossHead("pairs", "image", "other.image"),
    }
    losses = learner(heads=heads).evaluated.losses
    assert set(losses.requests(batch())) == {"square"}
    assert losses.left_out == {
        "weak": "there is no weak", "two": "it reads several loaders: other, pairs"
    }  # fmt: skip


def test_modes_are_each_their_own_again_afterwards() -> None:
    found = learner().train()
    found.networks["text_encoder"].eval()
    with evaluation_mode(found):
        assert not any(part.training for part in found.modules())
    assert found.networks["image_encoder"].training
    assert not found.networks["text_encoder"].training
