"""`run.resume: auto`: killed runs go on in their folder and end as if they had not been killed."""

import csv
import json
import logging
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import composed
from processes import in_processes
from processes import train as train_small
from processes import weights as weights_at
from tiny_runs import TINY, fit, weights
from torch.multiprocessing import ProcessExitedException

from sesemi_like.config.check import check
from sesemi_like.errors import ConfigError
from sesemi_like.learners.checkpoints.saving import LastCheckpoint
from sesemi_like.locks import Claim
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES


class DieAt:
    """A weight of a loss that kills the process at a step, once for each file that it makes."""

    def __init__(self, step: int, mark: str) -> None:
        self.step, self.mark = step, Path(mark)

    def __call__(self, step: int) -> float:
        if step == self.step and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return 1.0


def dying(step: int, mark: Path) -> str:
    """An override by which a run dies at a step, once."""
    schedule = f"{{_target_: {__name__}.DieAt, step: {step}, mark: {mark}}}"
    return f"learner.hparams.model.supervised_loss.scheduler={schedule}"


def train(folder: Path, *overrides: str) -> Any:
    config = composed("quickstart", *TINY, f"run.dir={folder}", *overrides)
    return run(config, check(config, MODES))


def in_process(folder: Path, *overrides: str) -> int | None:
    """Trains in a process of its own; returns the code that it ended with."""
    process = multiprocessing.get_context("forkserver").Process(
        target=train, args=(folder, *overrides)
    )
    process.start()
    process.join()
    return process.exitcode


def test_a_run_killed_twice_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    settings = ["run.seed=5", "run.validate_every=3"]
    never = dying(-1, tmp_path)
    whole, expected = fit(tmp_path / "whole", *settings, never)
    settings.append("run.resume=auto")
    for step in (5, 8):
        mark = tmp_path / str(step)
        code = in_process(tmp_path / "killed", *settings, dying(step, mark))
        assert code == -signal.SIGKILL
    folder, summary = fit(tmp_path / "killed", *settings, never)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    for name, value in weights(folder).items():
        torch.testing.assert_close(value, weights(whole)[name], rtol=0, atol=0, msg=name)
    same = ("metrics", "headline", "steps", "status", "seed")
    assert {name: summary[name] for name in same} == {name: expected[name] for name in same}
    rows, found = (
        list(csv.DictReader((place / "metrics.csv").open(newline=""))) for place in (whole, folder)
    )
    assert found == rows


def test_a_run_that_has_finished_is_told_and_not_repeated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, summary = fit(tmp_path, "run.resume=auto", "run.num_iterations=3")
    with caplog.at_level(logging.INFO):
        again = train(tmp_path, "run.resume=auto", "run.num_iterations=3")
    assert f"{folder} has finished; run.resume=null runs it anew" in caplog.text
    assert again == summary
    assert train(tmp_path, "run.resume=auto", "run.num_iterations=4")["steps"] == 4  # longer
    assert len(list(folder.parent.iterdir())) == 1
    train(tmp_path, "run.num_iterations=3")
    assert len(list(folder.parent.iterdir())) == 2


def test_a_run_killed_after_its_last_step_is_evaluated(tmp_path: Path) -> None:
    folder, summary = fit(tmp_path, "run.num_iterations=3")
    (folder / "summary.json").unlink()
    again = train(tmp_path, "run.resume=auto", "run.num_iterations=3")
    assert again["metrics"] == summary["metrics"]
    assert (again["headline"], again["steps"]) == (summary["headline"], 3)


def test_torn_files_are_passed_over_with_a_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep = "{_target_: pytorch_lightning.callbacks.ModelCheckpoint, every_n_train_steps: 2,"
    keep = f"trainer.callbacks=[{keep} save_top_k: -1, save_last: true}}]"
    folder, _ = fit(tmp_path, keep, "run.num_iterations=6", "data.val=null", "data.test=null")
    (folder / "summary.json").unlink()
    last, steps = folder / "checkpoints" / "last.ckpt", {}
    for path in (folder / "checkpoints").glob("epoch*.ckpt"):
        steps[torch.load(path, weights_only=True)["global_step"]] = path
    content = last.read_bytes()
    last.write_bytes(content[: len(content) // 2])  # cut off
    damaged = bytearray(steps[6].read_bytes())
    middle = len(damaged) // 2
    for place in range(middle, middle + 256):  # more than the gap between two tensors
        damaged[place] ^= 1  # a bit that has turned
    steps[6].write_bytes(damaged)
    (folder / "checkpoints" / "x.ckpt").write_bytes(b"")
    torch.save({"state_dict": {}, "optimizer_states": []}, folder / "checkpoints" / "y.ckpt")
    settings = ["run.resume=auto", keep, "run.num_iterations=6", "data.val=null", "data.test=null"]
    with caplog.at_level(logging.INFO):
        assert train(tmp_path, *settings)["steps"] == 6
    for name in ("last.ckpt", steps[6].name, "x.ckpt", "y.ckpt"):
        assert f"{name} is passed over" in caplog.text
    assert f"goes on after step 4 in {folder}" in caplog.text


def test_other_runs_are_left_alone(tmp_path: Path) -> None:
    folder, _ = fit(tmp_path, "run.num_iterations=3", "data.test=null")
    (folder / "summary.json").unlink()
    small = ["run.num_iterations=3", "data.test=null", "run.resume=auto"]
    train(tmp_path, "run.mode=VALIDATE", *small)  # does not train
    assert not (folder / "summary.json").exists()
    claim = Claim(folder)
    with pytest.raises(ConfigError, match=r"run\.resume.*is being written by a run that goes on"):
        train(tmp_path, *small)
    claim.release()
    train(tmp_path, *small)
    assert json.loads((folder / "summary.json").read_text())["steps"] == 3


def test_what_contradicts_is_refused(tmp_path: Path) -> None:
    config = composed(
        "quickstart", "run.resume=always", "run.checkpoint_every=soon",
    )  # fmt: skip
    keys = [problem.key for problem in check(config, MODES)]
    assert keys == ["run.resume", "run.checkpoint_every"]
    (tmp_path / "x.ckpt").touch()
    both = ["run.resume=auto", f"run.resume_from_checkpoint={tmp_path / 'x.ckpt'}"]
    (problem,) = check(composed("quickstart", *both), MODES)
    assert problem.key == "run.resume"


@pytest.mark.parametrize(("every", "expected"), [("2 steps", [2, 4, 6, 7]), ("1 hour", [7])])
def test_checkpoints_are_written_at_the_interval_and_at_the_end_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: str, expected: list[int]
) -> None:
    saved, save = [], LastCheckpoint.save

    def noted(self: Any, trainer: Any) -> None:
        save(self, trainer)
        saved.append(trainer.global_step)

    monkeypatch.setattr(LastCheckpoint, "save", noted)
    settings = [f"run.checkpoint_every={every}", "run.num_iterations=7", "run.validate_every=3"]
    folder, _ = fit(tmp_path, *settings, "data.test=null")
    assert saved == expected
    assert [path.name for path in (folder / "checkpoints").glob("last*")] == ["last.ckpt"]


@pytest.mark.parametrize(  # an epoch has five steps
    ("validated", "saved", "killed_at"),
    [
        ("run.validate_every=4", 2, 3),
        ("run.validate_every=4", 2, 4),
        ("run.validate_every=4", 2, 5),
        ("run.validate_every=4", 2, 7),
        ("run.validate_every=7", 5, 6),
        ("run.validate_every=5", 5, 6),
        ("run.validate_every=2 epochs", 5, 7),
        ("++trainer.val_check_interval=3", 5, 6),
    ],
)
def test_a_run_goes_on_from_a_checkpoint_between_validations(
    tmp_path: Path, validated: str, saved: int, killed_at: int
) -> None:
    settings = [f"run.checkpoint_every={saved} steps", validated, "data.test=null"]
    never, mark = dying(-1, tmp_path), tmp_path / "mark"
    whole, expected = fit(tmp_path / "whole", *settings, never)
    settings.append("run.resume=auto")
    code = in_process(tmp_path / "killed", *settings, dying(killed_at, mark))
    assert code == -signal.SIGKILL
    folder, summary = fit(tmp_path / "killed", *settings, never)
    assert summary["metrics"] == expected["metrics"]
    for name, value in weights(folder).items():
        torch.testing.assert_close(value, weights(whole)[name], rtol=0, atol=0, msg=name)
    rows = [(place / "metrics.csv").read_text() for place in (whole, folder)]
    assert rows[0] == rows[1]


BY_TWO = ["method=mean_teacher", "run.checkpoint_every=7 steps", "run.seed=null"]


def train_by_two(rank: int, folder: Path, end: int | None, seed: str) -> None:
    train_small(folder, 2, [*BY_TWO, f"run.seed={seed}", "run.resume=auto"], end=end)


@pytest.mark.slow
def test_two_processes_go_on_together(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    for end in (30, 40):
        with pytest.raises(ProcessExitedException):
            in_processes(train_by_two, tmp_path / "killed", end, "null")
    in_processes(train_by_two, tmp_path / "killed", None, "null")
    (path,) = (tmp_path / "killed").glob("*/*/summary.json")
    seed = str(json.loads(path.read_text())["seed"])
    in_processes(train_by_two, tmp_path / "whole", None, seed)
    expected = weights_at(tmp_path / "whole", 60)
    for name, value in weights_at(tmp_path / "killed", 60).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0, msg=name)
