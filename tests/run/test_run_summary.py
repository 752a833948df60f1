"""The summary of a run: its choices, and the weights and images behind each metric."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import composed
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sesemi_like.cli import command as cli
from sesemi_like.run.execute import run

TINY = [
    "run.gpus=0",
    "run.num_iterations=12",
    "data.train.unlabeled.repeat=1",
    "data.train.supervised.repeat=1",
    "data.train.unlabeled.batch_size_per_gpu=256",
    "learner.hparams.model.backbone.widths=[4,8]",
]
MONITOR = (
    "++trainer.callbacks=[{_target_: pytorch_lightning.callbacks.ModelCheckpoint,"
    " monitor: val/top1, mode: MODE, save_top_k: 1, save_last: true}]"
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run whose best checkpoint (here: the worst) is very likely not its last."""
    folder = tmp_path_factory.mktemp("finished")
    return run(composed("quickstart", *TINY, MONITOR.replace("MODE", "min"), f"run.dir={folder}"))


def test_each_metric_names_its_weights_and_images(finished: Any) -> None:
    measured, best = finished["measured"], finished["best"]
    step = torch.load(best["path"], weights_only=True)["global_step"]
    assert step < 12
    for name in ("test/top1", "test/ema/top1", "test/loss"):
        entry = {k: v for k, v in measured[name].items() if k != "interval"}
        assert entry == {"network": "ema", "checkpoint": "best", "path": best["path"],
                         "step": step, "images": 360}  # fmt: skip
    assert measured["val/model/top1"]["network"] == "model"
    last = measured["val/top1"]
    assert (last["checkpoint"], last["step"], last["images"]) == ("last", 12, 1397)
    assert torch.load(last["path"], weights_only=True)["global_step"] == 12
    low, high = measured["test/top1"]["interval"]
    assert 0 < low < finished["metrics"]["test/top1"] < high < 1
    assert set(measured) == set(finished["metrics"])


def test_the_metrics_are_those_of_the_weights_they_name(finished: Any, tmp_path: Path) -> None:
    for name in ("test/top1", "val/top1"):
        path = finished["measured"][name]["path"]
        mode = {"test/top1": "TEST", "val/top1": "VALIDATE"}[name]
        again = run(composed("quickstart", *TINY, f"run.mode={mode}", f"run.dir={tmp_path}",
                             f"run.pretrained_checkpoint_path='{path}'"))  # fmt: skip
        assert again["metrics"][name] == finished["metrics"][name]
        entry = again["measured"][name]
        assert (entry["checkpoint"], entry["path"], entry["step"]) == ("given", path, None)


def test_the_command_records_method_groups_and_overrides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ["method=supervised", *TINY, "run.num_iterations=2", "run.id='[red]'",
                 f"run.dir={tmp_path}"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["open_cli", "-cn", "quickstart", *overrides])
    cli.main()
    (path,) = tmp_path.glob("*/*/summary.json")
    found = json.loads(path.read_text())
    assert found["config"] == "quickstart"
    assert found["method"] == found["groups"]["method"] == "supervised"
    assert found["groups"]["backbone"] == "small_cnn"
    assert "evaluation" not in found["groups"]
    assert found["overrides"] == overrides
    out = capsys.readouterr().out
    assert "[red]: 2 steps" in out
    assert f"Everything is in {path.parent}" in out

    given = [f"run.from_run='{path.parent}'", "run.mode=TEST", "run.id=tested", "evaluation=knn",
             "data.test=${data.val}"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["open_cli", *given])
    cli.main()
    (path,) = tmp_path.glob("tested/*/summary.json")
    tested = json.loads(path.read_text())
    assert tested["config"] == "quickstart"
    assert tested["method"] == "supervised"
    assert tested["groups"] == {**found["groups"], "evaluation": "knn"}
    assert tested["overrides"] == given


@pytest.mark.parametrize(
    ("given", "expected"), [("[baseline,long]", "baseline, long"), ("null", "quickstart")]
)
def test_tags_are_in_the_summary_and_shown_by_tensorboard(
    given: str, expected: str, tmp_path: Path
) -> None:
    short = ["run.num_iterations=1", "data.val=null", "data.test=null", f"run.tags={given}"]
    content = run(composed("quickstart", *TINY, *short, f"run.dir={tmp_path}"))
    assert content["tags"] == expected.split(", ")
    events = EventAccumulator(str(Path(content["folder"]) / "tensorboard")).Reload()
    (shown,) = events.Tensors("tags/text_summary")
    assert shown.tensor_proto.string_val == [expected.encode()]
