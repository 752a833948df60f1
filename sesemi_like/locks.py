"""Locks of files, which end with the process that holds them, however it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def lock_descriptor(descriptor: int, *, wait: bool = True) -> bool | None:
    """Locks an open file until it is closed in this process and in those forked from it.

    Args:
        descriptor: The file.
        wait: Whether to wait for another process that holds the lock.

    Returns:
        Whether this process holds the lock; None where the file system has none.
    """
    import filelock  # not needed by commands that write nothing

    try:
        return filelock.lock_descriptor(descriptor, blocking=wait)
    except OSError:
        return None


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Holds the lock of a file, which is created if need be, and waits for it.

    Args:
        path: The file, in a folder that exists.

    Yields:
        Whether the lock is held; false where there are no locks or the file cannot be written.
    """
    try:
        descriptor = _open(path, os.O_CREAT)
    except OSError:
        yield False
        return
    try:
        yield bool(lock_descriptor(descriptor))
    finally:
        os.close(descriptor)


def remove_unlocked(path: Path) -> bool:
    """Removes a file that its writer holds locked, if that process has ended.

    Args:
        path: The file.

    Returns:
        Whether it was removed; false also where there are no locks.
    """
    try:
        descriptor = _open(path)
    except OSError:
        return False
    try:
        is_free = bool(lock_descriptor(descriptor, wait=False))
        if is_free:
            with suppress(OSError):
                path.unlink()
    finally:
        os.close(descriptor)
    return is_free and not path.exists()


def _open(path: Path, flags: int = 0) -> int:
    """Opens a file for whoever may write to its folder: locks over a network need write access."""
    mode = path.parent.stat().st_mode & 0o666
    descriptor = os.open(path, os.O_RDWR | flags, mode)
    with suppress(OSError):  # the umask may have taken away what the folder allows
        if flags & os.O_CREAT and os.fstat(descriptor).st_mode & 0o777 != mode:
            os.chmod(path, mode)
    return descriptor
