"""Signals: what is stopped ends at once, in one line, with the code that shells expect."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from composing import composed

from sesemi_like.config.check import check
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES
from sesemi_like.signals import Stopped, stop_on_signals

TINY = [
    "run.gpus=0",
    "learner.hparams.model.backbone.widths=[4]",
    "data.train.unlabeled=null",
    "++trainer.logger=false",
]


@pytest.fixture(autouse=True)
def interrupts_are_heard() -> Iterator[None]:
    """Shells have what they start in the background ignore SIGINT, tests included."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_start_up_ends_in_one_line(name: str, code: int, tmp_path: Path) -> None:
    """Python sends itself the signal where it would begin to import torch."""
    program = f"""
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            os.kill(os.getpid(), signal.{name})
sys.meta_path.insert(0, Finder())
sys.argv = ["open_cli", "-cn", "quickstart"]
from sesemi_like.__main__ import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr == f"stopped by {name}\n"


class StopAt:
    """A schedule that sends the process a signal at one of its steps."""

    def __init__(self, step: Any, signum: Any) -> None:
        self.step, self.signum = step, signum

    def __call__(self, step: Any) -> float:
        if step == self.step:
            os.kill(os.getpid(), self.signum)
        return 1.0


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_training_ends_with_the_code_of_the_signal_and_no_summary(
    name: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lightning alone ends with 1 and with 0."""
    schedule = (
        "{_target_: test_signals.StopAt, step: 30, signum: " + str(int(getattr(signal, name))) + "}"
    )
    config = composed(
        "quickstart", *TINY, "method=supervised", "run.num_iterations=60", f"run.dir={tmp_path}",
        "data.train.supervised.repeat=5",
        f"learner.hparams.model.supervised_loss.scheduler={schedule}",
    )  # fmt: skip
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Stopped) as caught, stop_on_signals():
        run(config, check(config, MODES))
    assert caught.value.code == code
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert f"stopped by {name}" in capsys.readouterr().err
    assert not list(tmp_path.glob("*/*/summary.json"))
    (last,) = tmp_path.glob("*/*/checkpoints/last.ckpt")
    assert 0 < torch.load(last, weights_only=True)["global_step"] < 60


def test_a_forked_process_is_ended_as_if_there_were_no_handler() -> None:
    reads, writes = os.pipe()
    with stop_on_signals():
        child = os.fork()
        if child == 0:
            os.write(writes, b"x")
            time.sleep(60)
            os._exit(0)
        os.read(reads, 1)
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGTERM


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_on_signals():
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_a_terminated_sweep_keeps_its_checkpoint_ends_its_workers_and_says_what_did_not_run(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-m", "sesemi_like", "-m", "-cn", "quickstart", *TINY]
    command += ["method=supervised", "run.num_iterations=100000", "run.seed=0,1,2"]
    command += ["run.validate_every=20"]
    command += ["data.train.supervised.num_workers=1"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/*/*/checkpoints/last.ckpt")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 143, stdout + stderr
    assert "Traceback" not in stderr
    assert not psutil.wait_procs(children, timeout=10)[1]
    (folder,) = (path for path in tmp_path.glob("runs/*/*") if path.is_dir())
    assert not (folder / "summary.json").exists()
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] > 0
    with (folder.parent / "summary.csv").open(newline="") as file:
        rows = [(row["seed"], row["status"]) for row in csv.DictReader(file)]
    assert rows == [("0", "stopped"), ("1", "not run"), ("2", "not run")]
    assert stdout.count("not run") == 2


@pytest.mark.parametrize("error", [ConnectionResetError, EOFError, ValueError])
def test_a_worker_cut_off_from_its_process_prints_no_traceback(error: type[Exception]) -> None:
    with stop_on_signals():
        reading, writing = os.pipe()
        worker = os.fork()
        if worker == 0:
            os.dup2(writing, 2)
            sys.stderr = os.fdopen(2, "w")
            sys.excepthook(error, error("cut off"), None)
            sys.stderr.flush()
            os._exit(0)
        os.waitpid(worker, 0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert ("cut off" in pipe.read()) == (error is ValueError)
