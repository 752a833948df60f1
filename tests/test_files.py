"""Files appear whole or not at all."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from sesemi_like.files import write_atomically


def test_makes_the_folder_and_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    write_atomically(path, "first, and longer")
    write_atomically(path, "second ü")
    assert path.read_text(encoding="utf-8") == "second ü"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", "")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_a_failure_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail(self: Any, target: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


WRITER = """
    import sys, time
    from sesemi_like.files import replacing

    with replacing(sys.argv[1]) as file:
        file.write(b"half")
        file.flush()
        print("writing", flush=True)
        sys.stdin.readline()
"""


def start_writer(path: Path) -> subprocess.Popen[str]:
    """Starts a process that writes a file, and waits for a line on its standard input."""
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(path)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
    assert process.stdout.readline() == "writing\n"
    return process


def test_leftovers_of_killed_writers_are_removed_and_writers_in_action_are_not_robbed(
    tmp_path: Path,
) -> None:
    killed, writing = start_writer(tmp_path / "killed"), start_writer(tmp_path / "writing")
    killed.kill()
    killed.communicate()
    assert len(list(tmp_path.iterdir())) == 2
    write_atomically(tmp_path / "other", "whole")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 2
    assert names[0].startswith(".writing.")
    writing.communicate("\n")
    assert writing.returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "writing"]
    assert (tmp_path / "writing").read_bytes() == b"half"


def test_a_file_that_is_removed_before_it_is_locked_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[Any] = []

    def lock_too_late(descriptor: Any) -> bool:
        if not removed:
            removed.extend(tmp_path.glob(".file.*"))
            removed[0].unlink()
        return True

    monkeypatch.setattr("sesemi_like.files.lock_descriptor", lock_too_late)
    write_atomically(tmp_path / "file", "whole")
    assert len(removed) == 1
    assert (tmp_path / "file").read_text() == "whole"
