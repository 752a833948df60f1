"""The progress of a task: a bar on a terminal, one line in a log elsewhere."""

from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console

from sesemi_like.report.tasks import show_progress


def test_a_bar_on_a_terminal_counts_what_is_completed() -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=80)
    with show_progress("decoding 8 images once", 8, console) as advance:
        advance(2)
        advance(6)
    assert "decoding 8 images once" in output.getvalue()
    assert "100%" in output.getvalue()


def test_elsewhere_the_task_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    output = io.StringIO()
    with (
        caplog.at_level(logging.INFO),
        show_progress("decoding 8 images once", 8, Console(file=output)) as advance,
    ):
        advance(8)
    assert [record.getMessage() for record in caplog.records] == ["decoding 8 images once"]
    assert not output.getvalue()
