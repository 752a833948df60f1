"""The evaluators of a run: further sets that they read, and what they need that is not there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from composing import composed
from tiny_runs import TINY, fit
from torch import nn

from sesemi_like.data import registry
from sesemi_like.data.samples import Samples
from sesemi_like.errors import ConfigError
from sesemi_like.evaluation import Evaluator
from sesemi_like.learners import Learner, LossTerm
from sesemi_like.models.heads.loss import Forward, LossHead, LossOutputs
from sesemi_like.models.networks import Networks
from sesemi_like.run.execute import run
from sesemi_like.run.prepare import prepare

OOD = "data.evaluation={ood: {dataset: {name: digits, subset: test, num_rows: 50}, batch_size: 20}}"


class Distance(Evaluator):
    """How far the mean features of a further set are from those of validation."""

    needs = ("features",)

    def __init__(self, gallery: str, needs: Any = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.reads, self.gallery = (gallery,), gallery
        self.needs = tuple(needs or self.needs)

    def evaluate(self, predict: Any, data: Any) -> Iterator[tuple[str, float]]:
        (own,) = data.values()
        for network, features in own.of("features").items():
            other = predict(self.gallery).of("features")[network]
            yield f"{network}/distance", float((features.mean(0) - other.mean(0)).norm())


def own_evaluator(**settings: Any) -> str:
    listed = ", ".join(f"{key}: {value}" for key, value in settings.items())
    return f"+run.evaluators.distance={{_target_: {__name__}.Distance, {listed}}}"


def problems(*overrides: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        prepare(composed("quickstart", *TINY, *overrides))
    return {p.key: f"{p.value}: {p.expected}" for p in caught.value.problems}


def test_a_further_set_is_measured_under_its_name_where_it_is_read(tmp_path: Path) -> None:
    measured = run(
        composed(
            "quickstart", *TINY, OOD, f"run.dir={tmp_path}", "evaluation=accuracy",
            "+run.evaluators.accuracy.sets=[ood]", own_evaluator(gallery="ood", on="test"),
        )
    )  # fmt: skip
    metrics = measured["metrics"]
    assert {"val/top1", "val/ood/top1", "test/ood/top1", "test/ema/distance"} <= set(metrics)
    assert "val/ema/distance" not in metrics
    assert measured["measured"]["val/ood/model/top1"]["images"] == 50
    assert measured["measured"]["val/ood/model/top1"]["network"] == "model"
    assert measured["measured"]["val/ood/top1"]["network"] == "ema"


def test_a_set_that_is_read_in_testing_alone_is_not_loaded_to_validate() -> None:
    overrides = (OOD, own_evaluator(gallery="ood", on="test"))
    assert "evaluation.ood" in prepare(composed("quickstart", *TINY, *overrides)).data.loaders
    validating = composed("quickstart", *TINY, *overrides, "run.mode=VALIDATE")
    assert "evaluation.ood" not in prepare(validating).data.loaders


def test_a_set_is_measured_by_its_labels_where_its_classes_are_those_of_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [{"image": torch.zeros(1, 8, 8)}] * 3

    def others(*_: Any, **__: Any) -> Any:
        return Samples(rows.__getitem__, "abc", np.zeros(3, np.int64), ["fish"])

    monkeypatch.setitem(registry.BUILDERS, "others", others)
    loader = "data.evaluation={ood: {dataset: {name: others}, batch_size: 2}}"
    measured = "+run.evaluators.accuracy.sets=[ood]"
    assert set(problems(loader, "evaluation=accuracy", measured)) == {"data.evaluation.ood.dataset"}
    reading = prepare(composed("quickstart", *TINY, loader, own_evaluator(gallery="ood")))
    assert "evaluation.ood" in reading.data.loaders


def test_what_an_evaluator_needs_and_nobody_offers_is_reported() -> None:
    found = problems(OOD, own_evaluator(gallery="ood", needs="[featrues, ema.logits]"))
    assert set(found) == {"run.evaluators.distance"}
    message = found["run.evaluators.distance"]
    assert message.startswith("featrues: data.")
    assert "did you mean 'features'" in message


@pytest.mark.parametrize("config", ["3", "{_target_: torch.nn.Identity}"])
def test_what_is_no_evaluator_is_reported(config: str) -> None:
    found = problems(f"+run.evaluators.x={config}")
    assert "is no evaluator; needs the _target_ of one" in found["run.evaluators.x"]


def test_an_evaluator_that_is_null_is_left_out() -> None:
    found = prepare(composed("quickstart", *TINY, "evaluation=knn", "run.evaluators.knn=null"))
    assert "knn" not in found.evaluation.evaluators


def test_data_without_targets_can_be_evaluated_where_no_evaluator_needs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = [torch.zeros(1, 8, 8)] * 3
    monkeypatch.setitem(registry.BUILDERS, "bare", lambda *_, **__: images)
    bare = "data.test.dataset={name: bare}"
    assert problems(bare) == {
        "data.test": "['image', 'index']: its batches have no target to evaluate with"
    }
    own = (OOD, "data.val=null", own_evaluator(gallery="ood"))
    assert prepare(composed("quickstart", *TINY, bare, *own)).evaluation.evaluators


def test_a_set_that_nothing_can_be_predicted_of_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [{"text": torch.zeros(3)}] * 3
    monkeypatch.setitem(registry.BUILDERS, "texts", lambda *_, **__: rows)
    loader = "data.evaluation={ood: {dataset: {name: texts}, batch_size: 2}}"
    found = problems(loader, own_evaluator(gallery="ood"))
    assert found["data.evaluation.ood"].endswith(
        "what is evaluated needs image, which its batches do not have"
    )


class MeanImage(LossHead):
    """How far images are from one image, which is learned."""

    def forwards(self, fields: Any) -> Any:
        pixels = Forward("supervised.image", through="network")
        return {"pixels": pixels, "index": Forward.field("supervised.index")}

    def forward(self, outputs: Any, step: Any) -> LossOutputs:
        return LossOutputs(outputs["pixels"]["distance"])


class Distances(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(1, 8, 8))

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"distance": (images - self.mean).square().mean(dim=(1, 2, 3))}


class MeanLearner(Learner):
    """A learner without classes."""

    def build_networks(self) -> Networks:
        return Networks({"network": Distances()})

    def build_terms(self) -> dict[str, LossTerm]:
        return {"mean": LossTerm(MeanImage(), key="mean")}

    def evaluated_forwards(self) -> dict[str, Forward]:
        return {"model": Forward("image", "network", grad=False)}


WITHOUT_CLASSES = (
    f"learner._target_={__name__}.MeanLearner", "trainer.callbacks=null",
    "learner.hparams.optimizer=null", "learner.hparams.lr_scheduler=null",
    "learner.hparams.optimizer={_target_: torch.optim.SGD, lr: 1}",
    "learner.hparams.lr_scheduler={interval: epoch, scheduler: {_target_: "
    "torch.optim.lr_scheduler.ReduceLROnPlateau}}",
    "data.train.supervised.views=null",
)  # fmt: skip


def test_a_learner_without_classes_is_judged_by_its_losses(tmp_path: Path) -> None:
    summary = fit(tmp_path, *WITHOUT_CLASSES)[1]
    metrics = summary["metrics"]
    assert {"val/loss", "val/mean/loss", "test/loss"} <= set(metrics)
    assert summary["judged_by"] == {"name": "val/loss", "direction": "min", "words": "loss"}
    assert summary["best"]["monitor"] == "val/loss"
    assert summary["headline"] == summary["best"]["score"] <= metrics["val/loss"]
    images: Any = prepare(composed("quickstart", *TINY)).data.datasets["val"]
    pixels = torch.stack([images[row]["image"] / 255 for row in range(len(images))])
    state = torch.load(summary["best"]["path"], weights_only=True)["state_dict"]
    expected = (pixels - state["networks.modules_by_name.network.mean"]).square().mean()
    assert summary["best"]["score"] == pytest.approx(expected.item(), rel=1e-5)


def test_without_validation_it_is_judged_by_what_it_trains_on(tmp_path: Path) -> None:
    unvalidated = ("data.val=null", "learner.hparams.lr_scheduler=null")
    summary = fit(tmp_path, *WITHOUT_CLASSES, *unvalidated)[1]
    assert summary["judged_by"]["name"] == "train/loss"
    assert summary["headline"] == summary["training"]["train/loss"]


def test_two_losses_of_one_name_are_reported() -> None:
    found = problems("evaluation=losses", "run.evaluators.accuracy.loss=true")
    assert set(found) == {"run.evaluators.accuracy.loss"}


def test_a_headline_that_is_not_measured_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        run(composed("quickstart", *TINY, "run.headline=val/top5", f"run.dir={tmp_path}"))
    (problem,) = caught.value.problems
    assert (problem.key, problem.value) == ("run.headline", "val/top5")
    assert "did you mean 'val/top1'" in problem.expected


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("mixmatch", "mixmatch: there is no weak and no weak_2"),
        ("adamatch", "supervised: there is no strong; adamatch: there is no strong and no weak"),
    ],
)
def test_losses_of_a_method_whose_views_are_missing_everywhere_are_refused_with_the_reason(
    method: str, reason: str
) -> None:
    found = problems("evaluation=losses", f"method={method}")
    wanted = "losses: no loss head can be measured on data.test: "
    assert found["run.evaluators.losses"].startswith(wanted)
    assert reason in found["run.evaluators.losses"]
