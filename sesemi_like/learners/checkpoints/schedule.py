"""When the next checkpoint is due, by steps or by the clock, on all processes alike."""

from __future__ import annotations

import time
from collections.abc import Callable

from ...config.intervals import Interval
from ...distributed import gather_objects, world_size


class SaveSchedule:
    """Says after which steps a checkpoint is due.

    Clocks of processes differ, so several of them go by the first one's. They look at it together,
    not at every step but at about half the steps that remain at the speed so far.

    Args:
        interval: From one checkpoint to the next.
        clock: Returns seconds; it never goes back.
    """

    def __init__(self, interval: Interval, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval, self._clock = interval, clock
        self._saved_step, self._seen_step, self._next_look = 0, 0, 0
        self._saved_at = 0.0

    def start(self, step: int) -> None:
        """Begins to count from a step."""
        self._saved_step = self._seen_step = step
        self._next_look = step + 1
        self._saved_at = self._clock()

    def is_due(self, step: int) -> bool:
        """Whether a checkpoint is due after a step; the next interval begins there.

        Args:
            step: Optimizer steps taken so far. Batches that only add to a step's gradients repeat
                the number; a checkpoint between them would lose what has been added.
        """
        if step == self._seen_step:
            return False
        self._seen_step = step
        if self._interval.steps is not None:
            return step % self._interval.steps == 0
        is_over = self._is_time_over(step)
        if is_over:
            self.start(step)
        return is_over

    def _is_time_over(self, step: int) -> bool:
        seconds = self._interval.seconds
        assert seconds is not None
        elapsed = self._clock() - self._saved_at
        if world_size() == 1:
            return elapsed >= seconds
        if step < self._next_look:
            return False
        elapsed = gather_objects(elapsed)[0]
        a_step = max(elapsed / (step - self._saved_step), 1e-6)
        self._next_look = step + max(1, int((seconds - elapsed) / a_step / 2))
        return elapsed >= seconds
