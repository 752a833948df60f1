"""Predictions of runs against the learner itself: every format, resumed, by several processes."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from composing import composed
from pyarrow import parquet
from tiny_runs import fit

import sesemi_like
from sesemi_like.config.check import check
from sesemi_like.data import Samples, dataset
from sesemi_like.errors import ConfigError
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES

PREDICT = [
    "run.mode=PREDICT", "run.gpus=0", "run.precision=32",
    "learner.hparams.model.backbone.widths=[4,8]",
    "++data.predict.dataset.name=digits", "++data.predict.dataset.subset=test",
    "++data.predict.batch_size_per_gpu=32", "++data.predict.num_workers=0",
    "run.predict.rows_per_part=60",
]  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, _ = fit(tmp_path_factory.mktemp("trained"), "run.num_iterations=3")
    return folder / "checkpoints" / "last.ckpt"


def predict(folder: Path, checkpoint: Path, *overrides: str) -> Path:
    """Predicts the digits; returns the run's folder."""
    config = composed(
        "quickstart", *PREDICT, f"run.dir={folder}", f"run.pretrained_checkpoint_path={checkpoint}",
        *overrides,
    )  # fmt: skip
    summary = run(config, check(config, MODES))
    folder = Path(summary["folder"])
    assert Path(summary["predictions"]).parent == folder
    return folder


def digits() -> Samples:
    samples = dataset("digits", subset="test")
    assert isinstance(samples, Samples)
    return samples


def expected(checkpoint: Path) -> torch.Tensor:
    """The probabilities of the test digits, by the loaded classifier."""
    images = digits().read.take(np.arange(360))["image"]  # type: ignore[attr-defined]
    learner = sesemi_like.Classifier.load_from_checkpoint(checkpoint)
    return learner(images).softmax(dim=1).detach()


@pytest.mark.slow
def test_a_table_has_every_row_in_order(checkpoint: Path, tmp_path: Path) -> None:
    folder = predict(tmp_path, checkpoint)
    rows = list(csv.DictReader((folder / "predictions.csv").open()))
    probability = expected(checkpoint)
    names = [f"probability.{digit}" for digit in range(10)]
    assert list(rows[0]) == ["index", "id", "class", "confidence", *names]
    assert [int(row["index"]) for row in rows] == list(range(360))
    assert [row["id"] for row in rows] == digits().row_ids()
    given = np.array([[float(row[name]) for name in names] for row in rows])
    np.testing.assert_allclose(given, probability.numpy(), atol=1e-6)
    assert [int(row["class"]) for row in rows] == probability.argmax(1).tolist()
    assert not list(tmp_path.glob("*/.predictions-*"))


@pytest.mark.slow
def test_every_format_holds_the_same_values(checkpoint: Path, tmp_path: Path) -> None:
    chosen = "run.predict.outputs=[class,probability,model.features,ema]"
    table = parquet.read_table(
        predict(tmp_path, checkpoint, chosen, "run.predict.format=parquet") / "predictions.parquet"
    )
    arrays = predict(tmp_path, checkpoint, chosen, "run.predict.format=npy") / "predictions"
    rows = list(csv.DictReader((predict(tmp_path, checkpoint, chosen) / "predictions.csv").open()))
    features = np.load(arrays / "model.features.npy")
    assert features.shape == (360, 8)
    assert np.array(table["model.features"].to_pylist(), dtype=np.float32).tolist() == (
        features.tolist()
    )
    written = [[np.float32(row[f"model.features.{i}"]) for i in range(8)] for row in rows]
    np.testing.assert_array_equal(np.array(written), features)
    logits = np.load(arrays / "ema.logits.npy").astype(np.float64)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    probability = np.load(arrays / "probability.npy")
    np.testing.assert_allclose(probability, softmax, atol=1e-6)
    labels = json.loads((arrays / "labels.json").read_text())
    assert labels == {"probability": [str(digit) for digit in range(10)]}
    np.testing.assert_array_equal(np.array(table["probability.3"]), probability[:, 3])
    assert np.load(arrays / "id.npy").tolist() == table["id"].to_pylist()
    assert np.load(arrays / "class.npy").tolist() == table["class"].to_pylist()


@pytest.mark.slow
def test_fit_predicts_with_the_best_weights_at_its_end(tmp_path: Path) -> None:
    values = {"monitor": "val/top1", "mode": "max", "save_top_k": 1}
    best = [f"++trainer.callbacks.checkpoint.{key}={value}" for key, value in values.items()]
    data = [word for word in PREDICT if "run.mode" not in word]
    folder, _ = fit(tmp_path / "whole", *best, *data)
    dry, _ = fit(tmp_path / "dry", *best, *data, "++trainer.fast_dev_run=true")
    assert not list(dry.glob("predictions*"))
    (path,) = (folder / "checkpoints").glob("epoch*.ckpt")
    rows = list(csv.DictReader((folder / "predictions.csv").open()))
    given = [float(row["confidence"]) for row in rows]
    np.testing.assert_allclose(given, expected(path).max(1).values.numpy(), atol=1e-6)


@pytest.mark.slow
def test_what_cannot_be_written_is_reported_before_anything_is(
    checkpoint: Path, tmp_path: Path
) -> None:
    for overrides, key, reason in [
        (["run.predict.outputs=[model.logit]"], "run.predict.outputs", "model.logits"),
        (["run.predict.format=xlsx"], "run.predict.format", "csv"),
        (["++data.predict.shuffle=true"], "data.predict.shuffle", "in the order of the data"),
        (["++trainer.limit_predict_batches=3"], "trainer.limit_predict_batches", "leaves rows"),
        (["run.predict.rows_per_part=0"], "run.predict.rows_per_part", "at least 1"),
    ]:
        with pytest.raises(ConfigError) as caught:
            predict(tmp_path, checkpoint, *overrides)
        found = {problem.key: problem.expected for problem in caught.value.problems}
        assert reason in found[key], overrides
    assert not list(tmp_path.rglob("predictions*"))
    assert not list(tmp_path.rglob(".predictions*"))
