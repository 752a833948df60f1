"""Every mode with every evaluator and way of giving weights, and a mode that is one entry."""

import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from composing import composed

from sesemi_like.cli import command as cli
from sesemi_like.config.check import check
from sesemi_like.config.mode import Mode
from sesemi_like.errors import ConfigError
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES
from sesemi_like.run.prepare import prepare
from sesemi_like.run.prepared import Prepared

TINY = [
    "run.gpus=0",
    "run.num_iterations=4",
    "data.train.unlabeled.repeat=1",
    "data.train.supervised.repeat=1",
    "data.train.unlabeled.batch_size_per_gpu=256",
    "learner.hparams.model.backbone.widths=[4]",
    "++trainer.callbacks.checkpoint.monitor=val/top1",
    "++trainer.callbacks.checkpoint.mode=max",
    "++trainer.callbacks.checkpoint.save_top_k=1",
]
PREDICTED = [
    "++data.predict.dataset.name=digits",
    "++data.predict.dataset.subset=test",
    "++data.predict.batch_size_per_gpu=100",
]
WAYS = ["resume_from_checkpoint", "pretrained_checkpoint_path", None]


def fit(folder: Path, *overrides: str) -> Any:
    """Runs a tiny quickstart; returns its folder and summary."""
    config = composed("quickstart", *TINY, f"run.dir={folder}", *overrides)
    run(config, check(config, MODES))
    (path,) = folder.glob("*/*/summary.json")
    return path.parent, json.loads(path.read_text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Checkpoints of a finished run by name, and what was measured of the last one."""
    folder, summary = fit(tmp_path_factory.mktemp("trained"), "evaluation=knn")
    found = {path.stem.split("=")[0]: path for path in (folder / "checkpoints").iterdir()}
    assert set(found) == {"last", "epoch"}
    return found, summary["metrics"]


@pytest.mark.parametrize(
    ("mode", "evaluation", "way", "which"),
    [
        *itertools.product(MODES, [None, "accuracy", "knn"], WAYS[:2], ["last", "epoch"]),
        *itertools.product(["VALIDATE", "TEST"], ["knn"], WAYS[2:], ["last"]),
    ],
)
def test_every_mode_with_every_evaluator_and_way_of_giving_weights(
    trained: Any, tmp_path: Path, mode: Any, evaluation: Any, way: Any, which: Any
) -> None:
    checkpoints, known = trained
    overrides = [f"run.mode={mode}", "run.num_iterations=5"]
    overrides += [f"evaluation={evaluation}"] if evaluation else []
    overrides += PREDICTED if mode == "PREDICT" else []
    overrides += [f"run.{way}='{checkpoints[which]}'"] if way else []
    if (mode, way, which) == ("FIT", WAYS[0], "epoch"):
        with pytest.raises(ConfigError, match=r"weights without what training needs.*last\.ckpt"):
            fit(tmp_path, *overrides)
        return
    _, summary = fit(tmp_path, *overrides)
    assert summary["status"] == "finished"
    assert summary["mode"] == mode
    split = "test" if mode == "TEST" else "val"
    metrics = {n for n in summary["metrics"] if n.startswith(f"{split}/")}
    assert (f"{split}/knn_top1" in metrics) == (evaluation == "knn" and mode != "PREDICT")
    if mode == "VALIDATE" and way and which == "last":
        for name in metrics & set(known):
            assert summary["metrics"][name] == known[name], name


def test_an_evaluator_of_data_that_are_not_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run\.evaluators\.knn: found 'superviesd'"):
        fit(tmp_path, "run.mode=TEST", "evaluation=knn", "run.evaluators.knn.data=superviesd")


def count_predictions(prepared: Prepared, trainer: pl.Trainer) -> dict[str, float]:
    """Predicts the validation data, with the weights that were loaded."""
    data, rows = prepared.data, 0
    for batch in data.val_dataloader():
        fields = data.loaders["val"].views.apply(batch)
        prepared.learner.predict_batch(fields)
        rows += len(fields["index"])
    return {"predicted": float(rows)}


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Mode:
    """A further mode, registered by one entry in the table."""
    mode = Mode(
        name="COUNT",
        summary="Counts what it predicts",
        carry_out=count_predictions,
        loads=("val",),
        needs=("val",),
    )
    monkeypatch.setitem(MODES, mode.name, mode)
    return mode


def test_an_entry_in_the_table_is_enough_to_check_load_and_run(
    counting: Mode, tmp_path: Path
) -> None:
    without = composed("quickstart", *TINY, "run.mode=COUNT", "data.val=null")
    assert [str(p) for p in check(without, MODES) if p.key == "data.val"] == [
        "data.val: found null; COUNT needs a data loader"
    ]
    config = composed("quickstart", *TINY, "run.mode=COUNT", "run.num_iterations=null")
    assert check(config, MODES) == []  # what does not train needs no length
    assert set(prepare(config).data.datasets) == {"val"}
    _, summary = fit(tmp_path, "run.mode=COUNT")
    assert (summary["mode"], summary["status"]) == ("COUNT", "finished")
    assert summary["training"] == {"predicted": 1397}


def test_a_mode_that_trains_needs_a_length_and_an_optimizer(counting: Mode) -> None:
    MODES["COUNT"] = replace(counting, trains=True)
    config = composed("quickstart", *TINY, "run.mode=COUNT", "run.num_iterations=null")
    config.learner.hparams.optimizer = None
    keys = {problem.key: problem.expected for problem in check(config, MODES)}
    assert keys["run.num_epochs"] == "COUNT needs num_epochs or num_iterations"
    assert "learner.hparams.optimizer" in keys


def test_the_help_lists_every_mode(
    counting: Mode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["open_cli", "-h"])
    cli.main()
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    for mode in MODES.values():
        (line,) = (line for line in lines if line.startswith(f"{mode.name}:"))
        assert mode.summary.startswith(line.partition(":")[2].strip())


def test_evaluating_without_a_checkpoint_warns_of_random_weights(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING", logger="sesemi_like"):
        fit(tmp_path, "run.mode=VALIDATE")
    assert "the learner has random weights" in caplog.text
