"""How the progress of long work on data is reported to whoever shows it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

log = logging.getLogger(__name__)

Advance = Callable[[int], object]
"""Called with the number of items that have been completed since the last call."""


class Progress(Protocol):
    """Shows the progress of one task while its context is open."""

    def __call__(self, task: str, total: int) -> AbstractContextManager[Advance]:
        """Opens the display of a task.

        Args:
            task: What is being done, in words.
            total: Items in all.
        """
        ...


@contextmanager
def log_task(task: str, total: int) -> Iterator[Advance]:
    """Logs a task once when it begins; the default where nothing shows progress."""
    log.info("%s", task)
    yield lambda completed: None
