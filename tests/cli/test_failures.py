"""Failures of the machine, raised by the machine: one sentence that says what to do."""

import errno
import os
import resource
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from sesemi_like.cli import command as cli
from sesemi_like.cli.failures import failure_reason


def raised_by(action: Any) -> Any:
    with pytest.raises(Exception) as caught:
        action()
    return caught.value


def write_to_a_full_disk() -> None:
    with open("/dev/full", "w") as file:
        file.write("x" * 100_000)


def test_a_full_disk() -> None:
    assert failure_reason(raised_by(write_to_a_full_disk)).startswith(
        "No space left on device; free some"
    )


def test_a_name_that_is_too_long_is_reported() -> None:
    text = failure_reason(raised_by(lambda: os.mkdir("/tmp/" + "x" * 300)))
    assert text.startswith("/tmp/xxx")
    assert "File name too long; give a shorter name" in text


class Writer:
    """Fails when it is closed, as writers do whose file could not be written."""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        raise RuntimeError("writer failed")


def test_a_file_without_permission_is_named_where_another_error_follows() -> None:
    with pytest.raises(RuntimeError) as caught, Writer():
        raise PermissionError(errno.EACCES, "Permission denied", "/runs/x")
    assert (
        failure_reason(caught.value)
        == "/runs/x: Permission denied; this user may not do that there"
    )


def test_an_error_that_takes_the_place_of_another_stands_alone() -> None:
    def replace() -> None:
        try:
            raise PermissionError(errno.EACCES, "Permission denied", "/runs/x")
        except OSError:
            raise ValueError("no such option") from None

    assert failure_reason(raised_by(replace)) is None


def test_a_port_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        monkeypatch.setenv("MASTER_PORT", str(port))
        error = raised_by(lambda: dist.TCPStore("127.0.0.1", port, 2, True))
    assert failure_reason(error) == (
        f"MASTER_PORT {port} is in use by another program; set it to a free one"
    )


def test_memory() -> None:
    assert "device's memory is full" in failure_reason(
        torch.OutOfMemoryError("CUDA out of memory.")
    )
    assert "machine's memory is full" in failure_reason(MemoryError())


@pytest.mark.parametrize("error", [ValueError("x"), FileNotFoundError(2, "no", "x"), KeyError(1)])
def test_mistakes_of_the_program_are_not_excused(error: Any) -> None:
    assert failure_reason(error) is None


def test_a_checkpoint_that_cannot_be_written_ends_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [
        "run.gpus=0", "method=supervised", "data.train.unlabeled=null", "run.num_iterations=13",
        "++trainer.logger=false", f"run.dir={tmp_path}",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["open_cli", "-cn", "quickstart", *overrides])
    tempfile.gettempdir()  # found by trying to write
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(SystemExit) as stop:
            cli.main()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert stop.value.code == 1
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    assert "File too large; files may not be that large here" in shown.err
    assert not list(tmp_path.glob("*/*/summary.json"))
