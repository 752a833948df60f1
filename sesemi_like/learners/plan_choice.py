"""How the forwards of a step are run: stacked or apart, with all rows or without some."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from .forwards import ForwardPlan
from .joining import ForwardChoice
from .left_out import RowChoice


class PlanChoice:
    """Decides how the forwards of a step are run, at the first batch at the latest.

    Args:
        separate: The plan that runs every request by itself, with all its rows.
        forward: Whether rows for one network are stacked: auto | separate | joined | together.
        rows: Whether rows that weigh nothing are left out: auto | on | off. With `together` none
            are: what they weigh is read off the same call.
    """

    def __init__(self, separate: ForwardPlan, forward: str, rows: str) -> None:
        self._forward = ForwardChoice(separate, forward)
        self._rows = RowChoice(separate.weighed, "off" if forward == "together" else rows)
        self._is_settled = False

    @property
    def plan(self) -> ForwardPlan:
        """The plan to run now."""
        return self._forward.plan

    @property
    def forward_in_use(self) -> str | None:
        """``joined``, ``together`` or ``separate``; None before it has been decided."""
        return self._forward.in_use

    @property
    def rows_in_use(self) -> list[str] | None:
        """The networks whose rows are left out; None before it has been decided."""
        return self._rows.in_use

    @property
    def is_open(self) -> bool:
        """Whether something has yet to be decided, or to be put into effect."""
        return not self._is_settled

    def drop_inexact(self, batch: Mapping[str, Any]) -> None:
        """Excludes what would change values.

        Args:
            batch: The fields of a step of a few samples, on the CPU.
        """
        self._forward.drop_inexact(batch)
        self._rows.drop_inexact(self.plan, batch)

    def decide(
        self, batch: Mapping[str, Any], context: Callable[[], AbstractContextManager[Any]]
    ) -> None:
        """Takes the fastest way that is left.

        Args:
            batch: The fields of a step.
            context: Makes what is entered around a trial, for the run's precision.
        """
        self._forward.decide(batch, context)
        if self._forward.in_use is not None:
            self._forward.plan = self._rows.decide(self.plan, batch, context)
            self._is_settled = True

    def skip_trials(self) -> None:
        """Keeps forwards as they are where only a trial would decide on another way."""
        self._forward.resume("separate" if self._forward.in_use is None else None)
        if self._rows.setting == "auto":
            self._rows.resume([])

    def resume(self, checkpoint: Mapping[str, Any]) -> None:
        """Goes on as the run of a checkpoint did, where that is open.

        Args:
            checkpoint: Its `forward` and `rows`; earlier versions, which ran all rows, noted none.
        """
        self._forward.resume(checkpoint.get("forward"))
        self._rows.resume(checkpoint.get("rows", []))
