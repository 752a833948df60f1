"""Any learner predicts: every part of its last output, texts too, and only what is chosen."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from composing import composed
from omegaconf import OmegaConf
from pyarrow import parquet
from torch import Tensor, nn

from sesemi_like.config.check import check
from sesemi_like.data import StreamedSamples, register_dataset
from sesemi_like.errors import ConfigError
from sesemi_like.learners import Learner
from sesemi_like.learners.terms import LossTerm
from sesemi_like.models.heads.loss.base import Forward
from sesemi_like.models.networks import Networks
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES

VALUES = np.arange(24, dtype=np.float32).reshape(8, 3)
called: list[str] = []


class Sums(nn.Module):
    """Adds up the values of a row, and says so in words."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, values: Tensor) -> dict[str, Any]:
        called.append(self.name)
        total = self.weight * values.sum(dim=1)
        return {
            "total": total,
            "words": [f"sum, {number:g}" for number in total.tolist()],
            "steps": [list(range(int(number) % 3)) for number in total.tolist()],
            "nested": {"pair": torch.stack([total, -total], dim=1)},
        }


class Summing(Learner):
    """Evaluates two networks, the second of which counts."""

    def build_networks(self) -> Networks:
        return Networks({"first": Sums("first"), "second": Sums("second")})

    def build_terms(self) -> dict[str, LossTerm]:
        return {}

    def evaluated_forwards(self) -> dict[str, Forward]:
        names = ("first", "second")
        return {name: Forward("features", name, grad=False) for name in names}


class Scalar(Summing):
    """Answers one number for a whole batch."""

    def predicted_columns(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        return {"mean": outputs["second"]["total"].mean()}


def predict(folder: Path, learner: type[Learner], *overrides: str) -> Path:
    np.save(folder / "x.npy", VALUES)
    config = composed(
        "app_config", "run.mode=PREDICT", "run.gpus=0", "run.precision=32",
        f"run.data_root={folder}", f"run.dir={folder}", "run.seed=0",
        "++data.predict.dataset.name=table", "++data.predict.dataset.root=x.npy",
        "++data.predict.dataset.fields={features: x}", "++data.predict.batch_size_per_gpu=3",
        *overrides,
    )  # fmt: skip
    target = f"{learner.__module__}.{learner.__name__}"
    config.learner = OmegaConf.create({"_target_": target, "hparams": {}})
    called.clear()
    return Path(run(config, check(config, MODES))["folder"])


def test_every_part_of_the_last_output_is_written(tmp_path: Path) -> None:
    rows = list(csv.DictReader((predict(tmp_path, Summing) / "predictions.csv").open()))
    names = ["total", "words", "steps", "nested.pair.0", "nested.pair.1"]
    assert list(rows[0]) == ["index", "id", *(f"second.{name}" for name in names)]
    totals = VALUES.sum(axis=1).tolist()
    assert [float(row["second.total"]) for row in rows] == totals
    assert [float(row["second.nested.pair.1"]) for row in rows] == [-total for total in totals]
    assert [row["second.words"] for row in rows] == [f"sum, {total:g}" for total in totals]
    assert [json.loads(row["second.steps"]) for row in rows] == [
        list(range(int(total) % 3)) for total in totals
    ]


def test_only_what_is_chosen_is_computed_and_written(tmp_path: Path) -> None:
    chosen = "run.predict.outputs=[second.steps,first.nested]"
    folder = predict(tmp_path, Summing, chosen, "run.predict.format=parquet")
    table = parquet.read_table(folder / "predictions.parquet")
    assert table.column_names == ["index", "id", "second.steps", "first.nested.pair"]
    totals = VALUES.sum(axis=1).tolist()
    assert table["first.nested.pair"].to_pylist() == [[total, -total] for total in totals]
    assert table["second.steps"].to_pylist() == [list(range(int(t) % 3)) for t in totals]
    called.clear()
    predict(tmp_path, Summing, "run.predict.outputs=[second.total]")
    # The samples tried in advance go through both, the three batches through one.
    assert called[-3:] == ["second"] * 3
    assert called.count("second") - called.count("first") == 3


@pytest.mark.parametrize(
    ("learner", "overrides", "reason"),
    [
        (Scalar, [], "needs a row for each"),
        (Summing, ["run.predict.format=npy"], "a list or mapping a row; csv and parquet"),
        (Summing, ["run.predict.outputs=[third]"], "no such output"),
    ],
)
def test_outputs_that_cannot_be_written_are_refused_at_once(
    learner: type[Learner], overrides: list[str], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=reason):
        predict(tmp_path, learner, *overrides)
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


def test_streams_are_refused(tmp_path: Path) -> None:
    rows = [{"features": torch.from_numpy(row)} for row in VALUES]
    register_dataset("streamed_vectors")(
        lambda root, subset, image_transform, fields: StreamedSamples(rows)
    )
    with pytest.raises(ConfigError) as caught:
        predict(tmp_path, Summing, "++data.predict.dataset.name=streamed_vectors")
    ((key, expected),) = [(p.key, p.expected) for p in caught.value.problems]
    assert key == "data.predict.dataset"
    assert "give data with random access" in expected
