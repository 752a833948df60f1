"""Locks end with their process, and what is locked is not removed."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from sesemi_like.locks import is_claimed, lock_descriptor, locked, remove_unlocked

HOLDER = """
    import os, sys, time
    from sesemi_like.locks import lock_descriptor

    descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
    assert lock_descriptor(descriptor)
    print("held", flush=True)
    time.sleep(60)
"""


def start_holder(path: Path) -> subprocess.Popen[str]:
    """Starts a process that holds the lock of a file."""
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_lock_ends_with_the_process_that_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    process = start_holder(path)
    descriptor = os.open(path, os.O_RDWR)
    assert lock_descriptor(descriptor, wait=False) is False
    assert not remove_unlocked(path)
    process.kill()
    process.wait()
    assert lock_descriptor(descriptor, wait=False) is True
    os.close(descriptor)
    assert remove_unlocked(path)
    assert not path.exists()


def test_whoever_asks_for_a_lock_that_is_held_waits(tmp_path: Path) -> None:
    order: list[str] = []

    def wait_for_lock() -> None:
        with locked(tmp_path / "lock") as is_held:
            order.append(f"second {is_held}")

    with locked(tmp_path / "lock") as is_held:
        assert is_held
        thread = threading.Thread(target=wait_for_lock)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join(timeout=20)
    assert order == ["first", "second True"]


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_work_goes_on_and_nothing_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(code, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    path = tmp_path / "file"
    with locked(path) as is_held:
        assert not is_held
    assert path.exists()
    assert not remove_unlocked(path)
    assert path.exists()


def test_a_folder_that_cannot_be_written_is_worked_in_without_a_lock(tmp_path: Path) -> None:
    with locked(tmp_path / "missing" / "lock") as is_held:
        assert not is_held
    assert not remove_unlocked(tmp_path / "missing")


def test_whoever_may_write_to_a_folder_may_lock_in_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    before = os.umask(0o077)
    try:
        with locked(tmp_path / "lock"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o660


FORKING = """
    import os, sys, time
    from pathlib import Path
    from sesemi_like.locks import Claim

    claim = Claim(Path(sys.argv[1]), of_forked=sys.argv[2] == "True")
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("of_forked", [True, False])
def test_a_claim_may_end_with_its_process_though_forked_ones_go_on(
    tmp_path: Path, of_forked: bool
) -> None:
    """Workers of a killed process notice that only after some seconds."""
    command = [sys.executable, "-c", textwrap.dedent(FORKING), str(tmp_path), str(of_forked)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    try:
        time.sleep(0.3)  # until the child has begun
        assert is_claimed(tmp_path)
        process.kill()
        process.wait()
        assert is_claimed(tmp_path) is of_forked
    finally:
        os.kill(child, 9)
