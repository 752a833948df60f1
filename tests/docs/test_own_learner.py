"""The learner of the page on new learners: networks of several kinds, ragged and missing fields."""

import csv
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from composing import composed
from reader import FENCE, FILE

from sesemi_like import load_model
from sesemi_like.run.execute import run
from sesemi_like.run.prepare import prepare

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extend" / "new_learner.md"
PREDICTED = 240


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the files that the page shows, where a reader works."""
    for _, body in FENCE.findall(PAGE.read_text()):
        if shown := FILE.match(body):
            path = tmp_path / shown.group(1)
            path.parent.mkdir(exist_ok=True)
            path.write_text(body)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("my_stations", None)


def config_of(folder: Path, *overrides: str) -> Any:
    words = ("run.gpus=0", "run.seed=0", "run.precision=32")
    return composed("stations", *words, *overrides, folder=folder / "configs")


def predictions(folder: Path) -> list[dict[str, str]]:
    [path] = folder.rglob("predictions.csv")
    return list(csv.DictReader(path.open()))


def test_its_first_losses_are_those_worked_out_directly(folder: Path) -> None:
    prepared = prepare(config_of(folder, "stages=null"))
    learner, batch = prepared.learner, prepared.data.first_step()
    assert batch["stations.report.row"].tolist() == [0]  # of the first two the first has a report
    learner.eval()
    values = learner.plan.run(batch)["matching"]
    networks = learner.networks
    with torch.no_grad():
        state = networks["encoder"](batch["stations.sensors"])
        tokens = batch["stations.report"]
        report = networks["text"](tokens["input_ids"], tokens["attention_mask"])
        told = networks["decoder"]((state[:1] + report) / 2)
    torch.testing.assert_close(values["told_fused"], told)
    learner.training_step(batch, 0)
    terms = learner.terms["matching"].head(values, None).terms
    expected = (values["told"] - batch["stations.sensors"]).square().mean(1).mean()
    torch.testing.assert_close(terms["told"].losses.mean(), expected)
    assert terms["match"].losses.tolist() == [0.0]  # one report of one: nothing to be confused with
    total = sum(term.coefficient * term.losses.mean() for term in terms.values())
    torch.testing.assert_close(learner.step_losses["matching"], total.detach())


@pytest.mark.slow
def test_it_learns_in_stages_and_reports_predicts_and_is_loaded(folder: Path) -> None:
    summary = run(config_of(folder))
    first, second = (folder / stage["folder"] for stage in summary["stages"].values())
    before, after = load_model(first), load_model(second)
    text = {name: value for name, value in before.state_dict().items() if ".text." in name}
    assert all(torch.equal(value, text[name]) for name, value in initial_text(folder).items())
    assert not all(
        torch.equal(value, text[n]) for n, value in after.state_dict().items() if n in text
    )

    logged = list(csv.DictReader((second / "metrics.csv").open()))
    rates = {(row["lr"], row["lr/text"]) for row in logged if row["lr"]}
    assert all(math.isclose(float(b), 2 * float(a), rel_tol=1e-5) for a, b in rates)
    names = {"told", "fused", "match", "loss"}
    assert {f"val/matching/{name}" for name in names} | {"val/loss"} <= set(logged[0])
    # Two classes of stations apart by 1 in two of eight sensors, and noise of 0.04 that stays.
    assert 0.0 < summary["metrics"]["val/matching/told"] < 0.06
    assert summary["headline"] == pytest.approx(summary["metrics"]["val/loss"], rel=0.2)

    rows = predictions(second)
    assert [int(row["index"]) for row in rows] == list(range(PREDICTED))
    module = sys.modules["my_stations"]
    sensors = torch.stack([s["sensors"] for s in module.stations("", "predict")])
    with torch.no_grad():
        best = load_model(Path(summary["best"]["path"]))
        told = best.networks["decoder"](best.networks["encoder"](sensors))
    found = np.array([[float(row[f"told.{i}"]) for i in range(8)] for row in rows])
    np.testing.assert_allclose(found, told.numpy(), atol=1e-5)


def initial_text(folder: Path) -> dict[str, torch.Tensor]:
    """The text encoder as a run of this seed begins."""
    learner = prepare(config_of(folder, "stages=null")).learner
    return {name: value for name, value in learner.state_dict().items() if ".text." in name}


ENDING = """
import os

import pytorch_lightning as pl


class Ending(pl.Callback):
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 11:
            os.kill(os.getpid(), 9)
"""


def command(folder: Path, *words: str, ends: int = 0) -> None:
    """Runs `open_cli` in a process of its own, which ends as it should."""
    # Whether forwards are joined is timed, and the sums of joined ones are rounded otherwise.
    same = ("stages=null", "run.gpus=0", "run.seed=0", "+learner.hparams.forward=separate")
    words = ("-cd", "configs", "-cn", "stations", *same, *words)
    program = [sys.executable, "-m", "sesemi_like", *words, "run.num_iterations=25"]
    ended = subprocess.run(program, cwd=folder, capture_output=True, text=True)
    assert ended.returncode == ends, ended.stderr


@pytest.mark.slow
def test_killed_in_the_middle_of_an_epoch_it_ends_as_if_it_had_not_been(folder: Path) -> None:
    (folder / "ending.py").write_text(ENDING)
    parts = ("run.dir=parts", "run.checkpoint_every='5 steps'", "run.resume=auto")
    command(folder, *parts, "+trainer.callbacks.end._target_=ending.Ending", ends=-9)
    command(folder, *parts)
    command(folder, "run.dir=whole")
    [one], [other] = ([*folder.glob(f"{name}/stations/*")] for name in ("parts", "whole"))
    own, expected = (load_model(path).state_dict() for path in (one, other))
    assert all(torch.equal(value, own[name]) for name, value in expected.items())
    assert (one / "predictions.csv").read_bytes() == (other / "predictions.csv").read_bytes()
    assert json.loads((one / "summary.json").read_text())["steps"] == 25
