"""The progress of a task other than training: a bar on a terminal, one line in a log elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress

log = logging.getLogger(__name__)


@contextmanager
def show_progress(
    task: str, total: int, console: Console | None = None
) -> Iterator[Callable[[int], None]]:
    """Shows the progress of a task while the context is open.

    Args:
        task: What is being done, in words.
        total: Items in all.
        console: Where to; None is standard output.

    Yields:
        A function that takes the number of items completed since its last call.
    """
    console = console or Console()
    if not console.is_terminal:
        log.info("%s", task)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(task, total=total)
        yield lambda completed: progress.advance(bar, completed)
