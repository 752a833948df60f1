"""Every mode with every evaluator and every way of giving weights."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from composing import composed

from sesemi_like.config.check import check
from sesemi_like.errors import ConfigError
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES

TINY = [
    "run.gpus=0",
    "run.num_iterations=4",
    "data.train.unlabeled.repeat=1",
    "data.train.supervised.repeat=1",
    "data.train.unlabeled.batch_size_per_gpu=256",
    "learner.hparams.model.backbone.widths=[4]",
    "++trainer.callbacks.0.monitor=val/top1",
    "++trainer.callbacks.0.mode=max",
    "++trainer.callbacks.0.save_top_k=1",
]
WAYS = ["resume_from_checkpoint", "pretrained_checkpoint_path", None]


def done(folder: Path, *overrides: str) -> Any:
    """Runs a tiny quickstart; returns its folder and summary."""
    config = composed("quickstart", *TINY, f"run.dir={folder}", *overrides)
    run(config, check(config, MODES))
    (path,) = folder.glob("*/*/summary.json")
    return path.parent, json.loads(path.read_text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Checkpoints of a finished run by name, and what was measured of the last one."""
    folder, summary = done(tmp_path_factory.mktemp("trained"), "evaluation=knn")
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
    overrides += [f"run.{way}='{checkpoints[which]}'"] if way else []
    if (mode, way, which) == ("FIT", WAYS[0], "epoch"):
        with pytest.raises(ConfigError, match=r"weights without what training needs.*last\.ckpt"):
            done(tmp_path, *overrides)
        return
    _, summary = done(tmp_path, *overrides)
    assert summary["status"] == "finished"
    assert summary["mode"] == mode
    split = "test" if mode == "TEST" else "val"
    metrics = {n for n in summary["metrics"] if n.startswith(f"{split}/")}
    assert (f"{split}/knn_top1" in metrics) == (evaluation == "knn")
    if mode == "VALIDATE" and way and which == "last":
        for name in metrics & set(known):
            assert summary["metrics"][name] == known[name], name


def test_an_evaluator_of_data_that_are_not_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run\.evaluators\.knn: found 'superviesd'"):
        done(tmp_path, "run.mode=TEST", "evaluation=knn", "run.evaluators.knn.data=superviesd")
