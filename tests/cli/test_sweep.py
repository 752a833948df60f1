"""Sweeps: what differs names the folders, and what came of each run is one table."""

import csv
import sys
from pathlib import Path
from typing import Any

import pytest

from sesemi_like.cli import command as cli
from sesemi_like.config.command_line import Choices, values_by_key
from sesemi_like.errors import ConfigError, ConfigProblem

TINY = [
    "run.gpus=0", "run.num_iterations=2", "method=supervised", "data.train.unlabeled=null",
    "++trainer.logger=false", "data.test=null",
]  # fmt: skip


def sweep(monkeypatch: pytest.MonkeyPatch, *overrides: str) -> Any:
    monkeypatch.setattr(sys, "argv", ["open_cli", "-m", "-cn", "quickstart", *TINY, *overrides])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code


def test_runs_that_fail_are_in_the_table_with_their_reason_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    width = "learner.hparams.model.backbone.widths"
    failing = "learner.hparams.num_classes=7,10"
    assert sweep(monkeypatch, failing, "run.seed=1,2", f"{width}=[4]", f"run.dir={tmp_path}") == 1
    (table,) = tmp_path.glob("quickstart/summary.csv")
    rows = list(csv.DictReader(table.open(newline="")))
    key = "learner.hparams.num_classes"
    assert [(r["run"], r[key], r["method"], r["seed"], r["status"]) for r in rows] == [
        ("0", "7", "supervised", "1", "failed"), ("1", "7", "supervised", "2", "failed"),
        ("2", "10", "supervised", "1", "finished"), ("3", "10", "supervised", "2", "finished"),
    ]  # fmt: skip
    for row in rows[:2]:
        assert row["reason"].startswith(f"{key}: found 7; the data have 10 classes")
        assert row["folder"] == row["val/top1"] == ""
    folders = [Path(row["folder"]) for row in rows[2:]]
    assert [f.name.split("_", 2)[2] for f in folders] == [
        "num_classes-10_seed-1", "num_classes-10_seed-2"]  # fmt: skip
    assert sorted(folders) == sorted(f for f in (tmp_path / "quickstart").iterdir() if f.is_dir())
    for row in rows[2:]:
        assert 0 <= float(row["val/top1"]) == float(row["headline"]) <= 1
    shown = capsys.readouterr()
    assert shown.err.count("the data have 10 classes") == 2
    assert "Traceback" not in shown.err
    assert "The runs of this sweep" in shown.out
    assert "run 0 failed: learner.hparams.num_classes: found 7; the data have" in shown.out
    assert f"{float(rows[3]['val/top1']):.3f}" in shown.out
    assert f"The table is in {table}" in shown.out


def test_a_second_sweep_leaves_the_table_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        assert sweep(monkeypatch, "data.labels_per_class=0,-1", f"run.dir={tmp_path}") == 1
    tables = sorted((tmp_path / "quickstart").glob("summary*.csv"))
    assert [t.name for t in tables] == ["summary-2.csv", "summary.csv"]
    assert tables[0].read_text() == tables[1].read_text()


@pytest.mark.parametrize(
    ("differing", "label"),
    [
        ({}, ""),
        ({"method": "fixmatch", "run.seed": "0"}, "method-fixmatch_seed-0"),
        ({"a.lr": "0.1", "b.lr": "1e-3"}, "a.lr-0.1_b.lr-1e-3"),
        ({"run.id": "../x y/[red]"}, "id-..-x-y-red"),
        ({"optimizer": "null"}, "optimizer-null"),
    ],
)
def test_a_label_is_a_safe_part_of_a_name(differing: Any, label: str) -> None:
    assert Choices(differing=differing).label == label


def test_a_label_has_bounded_length() -> None:
    label = Choices(differing={f"key{n}": "x" * 50 for n in range(50)}).label
    assert 50 < len(label) <= 100
    assert label.startswith("key0-xxx")


def test_overrides_taken_apart() -> None:
    assert values_by_key(["+a.b=[1,2]", "method=x", "~c"]) == {
        "a.b": "[1,2]", "method": "x", "c": "null"}  # fmt: skip


def fake_jobs(monkeypatch: pytest.MonkeyPatch, *outcomes: Any) -> None:
    """Replaces runs by what they return or raise, one after the other."""
    remaining = iter(outcomes)

    def job(config: Any) -> Any:
        outcome = next(remaining)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr(cli, "job", job)


def test_the_reason_is_the_first_problem_or_the_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems = [ConfigProblem("a", 1, "x"), ConfigProblem("b", 2, "y")]
    fake_jobs(monkeypatch, ConfigError(problems), ValueError("no"))
    assert sweep(monkeypatch, "run.seed=1,2", f"run.dir={tmp_path}") == 1
    rows = list(csv.DictReader((tmp_path / "quickstart" / "summary.csv").open(newline="")))
    assert [row["reason"] for row in rows] == ["a: found 1; x", "ValueError: no"]


def test_what_did_not_run_is_in_the_table_and_columns_are_those_of_all_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = {"status": "finished", "seed": 7, "headline": 0.5, "metrics": {"val/top1": 0.5}}
    fake_jobs(monkeypatch, summary, KeyboardInterrupt())
    monkeypatch.setattr(
        sys, "argv", ["open_cli", "-m", "-cn", "quickstart", "run.id=1,2,3", f"run.dir={tmp_path}"]
    )
    with pytest.raises(KeyboardInterrupt):
        cli.main()
    (table,) = tmp_path.glob("*/summary.csv")
    assert table.read_text() == (
        "run,status,run.id,method,seed,headline,steps,seconds,val/top1,folder,reason\n"
        "0,finished,1,fixmatch,7,0.5,,,0.5,,\n"
        "1,stopped,2,fixmatch,0,,,,,,\n"
        "2,not run,3,,,,,,,,\n"
    )


def test_only_the_first_process_of_a_launch_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    fake_jobs(monkeypatch, {"status": "finished", "seed": 1, "headline": None})
    monkeypatch.setattr(
        sys, "argv", ["open_cli", "-m", "-cn", "quickstart", "run.seed=1", f"run.dir={tmp_path}"]
    )
    cli.main()
    assert list(tmp_path.rglob("summary.csv")) == []
