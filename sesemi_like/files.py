"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .locks import lock_descriptor, remove_unlocked

_IS_WINDOWS = os.name == "nt"

RUN_FOLDER = "SESEMI_LIKE_RUN_FOLDER"
"""The environment variable that has the folder of the run that this process began last."""

PARTIAL = ".partial"
"""How the names of files end that are being written; they begin with a dot."""


def write_atomically(path: str | Path, text: str) -> None:
    """Writes a text file under a temporary name and renames it, so that no half of it is ever seen.

    Args:
        path: The file; its folder is created if needed, and a file of this name is replaced.
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
        path: The file; its folder is created if needed. It is not changed if the block fails.

    Yields:
        The file to write to, in binary mode.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path.parent)
    descriptor, temporary = _create_partial(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            if (
                not _IS_WINDOWS
            ):  # renamed while it is locked, so that nobody takes it for a leftover
                temporary.replace(path)
        if _IS_WINDOWS:  # which renames no open files
            temporary.replace(path)
        _sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _create_partial(path: Path) -> tuple[int, Path]:
    """Creates a partial file beside its target and locks it for as long as it is open."""
    while True:
        descriptor, name = tempfile.mkstemp(PARTIAL, f".{path.name[:80]}.", path.parent)
        lock_descriptor(descriptor)
        if os.path.exists(name):
            return descriptor, Path(name)
        os.close(descriptor)  # another process has removed it before it was locked


def _remove_leftovers(folder: Path) -> None:
    """Removes partial files of processes that have ended; those in writing are locked."""
    if not _IS_WINDOWS:
        for partial in folder.glob(f".*{PARTIAL}"):
            remove_unlocked(partial)


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
