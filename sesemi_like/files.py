"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

RUN_FOLDER = "SESEMI_LIKE_RUN_FOLDER"
"""Tells the processes that Lightning launches which folder the first one has made."""

PARTIAL = ".partial"
"""How the names of files end that are being written; they begin with a dot."""


def write_atomically(path: str | Path, text: str) -> None:
    """Writes a text file under a temporary name and renames it, so that no half of it is ever seen.

    Args:
        path: The file; its folder is made if need be, and a file of this name is replaced.
        text: What it is to hold.
    """
    with replacing(path) as file:
        file.write(text.encode())


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """Opens a file that takes the place of another one once the block has ended well.

    It is written beside its target, as only a rename within a file system is atomic, and reaches
    the disk before it is renamed. What killed processes left half-written in the folder is removed.

    Args:
        path: The file; its folder is made if need be. It is left as it is if the block fails.

    Yields:
        The file to write to, in binary mode.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _writing_in(path.parent):
        descriptor, temporary = tempfile.mkstemp(PARTIAL, f".{path.name[:80]}.", path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o666 & ~_umask())
            Path(temporary).replace(path)
            _sync(path.parent)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


@contextmanager
def _writing_in(folder: Path) -> Iterator[None]:
    """Removes partial files, unless a process is writing there, and keeps others from doing so.

    Who writes holds a shared lock of the folder, which ends with its process however that dies.
    """
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):  # there are no locks on Windows; nothing is removed then
        yield
        return
    try:
        with contextlib.suppress(OSError):  # others write there, or the file system has no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in folder.glob(f".*{PARTIAL}"):
                left.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    """Has a rename reach the disk, where folders can be synchronized."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
