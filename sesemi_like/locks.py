"""Locks of files, which end with the process that holds them, however it ends."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_CLAIM, _LOCK = "in-use-", ".lock"


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


class Claim:
    """Marks a folder as used by this process and by those forked from it, until they end.

    The mark is a locked file in the folder. Where there are no locks, or the folder cannot be
    written, there is none.

    Args:
        folder: The folder.
        of_forked: Whether it lasts until forked processes have ended too. Those that load data
            notice only after some seconds that the process which they load for was killed.
    """

    def __init__(self, folder: Path, *, of_forked: bool = True) -> None:
        self._release: Callable[[], object] | None = None
        try:
            is_claimed(folder)  # removes the marks of processes that have ended
            descriptor, name = tempfile.mkstemp(_LOCK, _CLAIM, folder)
        except OSError:
            return
        _share(Path(name))
        if lock_descriptor(descriptor):
            self._release = weakref.finalize(self, os.close, descriptor)
            if not of_forked:
                _not_of_forked.add(self)
        else:
            os.close(descriptor)
            Path(name).unlink(missing_ok=True)

    def release(self) -> None:
        """Ends the claim; nothing happens where it has ended."""
        if self._release is not None:
            self._release()


_not_of_forked: weakref.WeakSet[Claim] = weakref.WeakSet()


def _release_in_forked() -> None:
    """Closes the files of such claims in a forked process, which leaves them locked elsewhere."""
    for claim in list(_not_of_forked):
        claim.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_in_forked)


def is_claimed(folder: Path) -> bool:
    """Whether a living process has claimed a folder; marks of others are removed.

    Without locks nothing is known of that: a folder is to be removed only while one is held.

    Args:
        folder: The folder.
    """
    marks = list(folder.glob(f"{_CLAIM}*{_LOCK}"))
    return any([not remove_unlocked(mark) and mark.exists() for mark in marks])


def _open(path: Path, flags: int = 0) -> int:
    """Opens a file to be locked: over a network that needs write access."""
    is_new = bool(flags & os.O_CREAT) and not path.exists()
    descriptor = os.open(path, os.O_RDWR | flags, 0o666)
    if is_new:
        _share(path)
    return descriptor


def _share(path: Path) -> None:
    """Lets all who may write to a folder lock a new file in it, whatever the umask."""
    with suppress(OSError):
        os.chmod(path, path.parent.stat().st_mode & 0o666)
