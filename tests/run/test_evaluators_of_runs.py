"""The evaluators of a run: further sets that they read, and what they need that is not there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import composed
from tiny_runs import TINY

from sesemi_like.data import registry
from sesemi_like.errors import ConfigError
from sesemi_like.evaluation import Evaluator
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


def test_what_an_evaluator_needs_and_nobody_offers_is_reported() -> None:
    found = problems(OOD, own_evaluator(gallery="ood", needs="[featrues, ema.logits]"))
    assert set(found) == {"run.evaluators.distance"}
    message = found["run.evaluators.distance"]
    assert message.startswith("featrues: data.")
    assert "did you mean 'features'" in message


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
