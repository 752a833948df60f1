"""Signals stop the process in an orderly way, with one line and the exit code shells expect."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType, TracebackType
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM)


class Stopped(SystemExit):
    """Raised where a signal reaches the process; its exit code is 128 + the signal's number.

    Args:
        signum: The signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.signum).name}"


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Has SIGINT and SIGTERM raise :class:`Stopped`, and reports it in one line.

    Everything that is open is closed on the way out. A second SIGINT ends the process at once; a
    second SIGTERM, which some programs send to the process and then to its group, does nothing.
    Signals that the process was started to ignore, and threads, are left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def stop(signum: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:
            _end_worker(signum, frame)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # Not SIG_IGN: Python complains of a signal that arrives while its handler is taken away.
        signal.signal(signal.SIGTERM, lambda *_: None)
        raise Stopped(signum)

    before = {number: signal.getsignal(number) for number in STOPPING}
    handled = [number for number, handler in before.items() if handler != signal.SIG_IGN]
    for number in handled:
        signal.signal(number, stop)
    excepthook = sys.excepthook
    sys.excepthook = partial(_print_unless_cut_off, owner, excepthook)
    try:
        yield
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        raise
    finally:
        sys.excepthook = excepthook
        for number in handled:
            signal.signal(number, before[number])


def _print_unless_cut_off(
    owner: int,
    excepthook: Callable[..., Any],
    kind: type[BaseException],
    error: BaseException,
    traceback: TracebackType | None,
) -> None:
    """Prints an error that nothing caught, but not a forked worker's lost connection to its owner.

    A worker that is sending a batch while its owner is stopped can do nothing about it.
    """
    if os.getpid() == owner or not issubclass(kind, ConnectionError | EOFError):
        excepthook(kind, error, traceback)


def _end_worker(signum: int, frame: FrameType | None) -> None:
    """Ends a process that was forked from the one that handles signals, as if it had no handler."""
    if signum == signal.SIGINT:
        signal.default_int_handler(signum, frame)
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
