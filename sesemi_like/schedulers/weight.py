"""The weight of a loss over time: callables from an optimizer step to a number, without torch."""

from __future__ import annotations

import math
from functools import cached_property

from .durations import Duration, parse, steps


class ConstantSchedule:
    """The same weight at every step.

    Args:
        value: The weight. A loss head whose weight is a constant zero is not run at all.
    """

    def __init__(self, value: float = 1.0) -> None:
        self.value = float(value)

    def __call__(self, step: int) -> float:
        """The weight at an optimizer step, counted from 0."""
        return self.value


class LinearSchedule:
    """From one weight to another along ``shape(t) = t``.

    The weight is `start` during the delay, then ``start + (stop - start) * shape(t)`` where t is
    the share of `duration` that has passed, then `stop`.

    Args:
        start: The first weight.
        stop: The last weight; may be the smaller one.
        duration: How long the change takes: steps, ``"10 epochs"``, ``"30%"`` or a share of the
            run. Zero changes at once.
        delay: How long the first weight stays, in the same forms.
        iterations_per_epoch: Steps of an epoch, for durations in epochs.
        max_iterations: Steps of the run, for durations that are shares of it.

    Raises:
        ValueError: If a duration is unreadable, or, at the first call, needs a missing number.
    """

    def __init__(
        self,
        start: float = 0.0,
        stop: float = 1.0,
        *,
        duration: Duration,
        delay: Duration = 0,
        iterations_per_epoch: int | None = None,
        max_iterations: int | None = None,
    ) -> None:
        self.start = float(start)
        self.stop = float(stop)
        self.duration = duration
        self.delay = delay
        self.iterations_per_epoch = iterations_per_epoch
        self.max_iterations = max_iterations
        for text in (delay, duration):
            parse(text)

    def __call__(self, step: int) -> float:
        """The weight at an optimizer step, counted from 0."""
        passed = step - self.delay_steps
        if passed < 0:
            return self.start
        if passed >= self.duration_steps:
            return self.stop
        return self.start + (self.stop - self.start) * self.shape(passed / self.duration_steps)

    def shape(self, share: float) -> float:
        """How much of the change is done after a share, in [0, 1), of the duration."""
        return share

    # Counted at the first call, not at construction: a run that only tests has no steps to count.
    @cached_property
    def delay_steps(self) -> int:
        """The delay in optimizer steps."""
        return self._steps(self.delay)

    @cached_property
    def duration_steps(self) -> int:
        """The duration in optimizer steps."""
        return self._steps(self.duration)

    def _steps(self, duration: Duration) -> int:
        return steps(
            duration,
            iterations_per_epoch=self.iterations_per_epoch,
            max_iterations=self.max_iterations,
        )


class StepSchedule(LinearSchedule):
    """One weight until a moment, another from then on.

    Args:
        start: The weight before it.
        stop: The weight from then on.
        delay: The moment: steps, ``"10 epochs"``, ``"30%"`` or a share of the run.
        iterations_per_epoch: Steps of an epoch, for a delay in epochs.
        max_iterations: Steps of the run, for a delay that is a share of it.

    Raises:
        ValueError: If the delay is unreadable, or, at the first call, needs a missing number.
    """

    def __init__(
        self,
        start: float = 0.0,
        stop: float = 1.0,
        *,
        delay: Duration,
        iterations_per_epoch: int | None = None,
        max_iterations: int | None = None,
    ) -> None:
        super().__init__(
            start,
            stop,
            duration=0,
            delay=delay,
            iterations_per_epoch=iterations_per_epoch,
            max_iterations=max_iterations,
        )


class SigmoidSchedule(LinearSchedule):
    """From one weight to another along ``shape(t) = exp(-5 (1 - t)^2)``.

    The ramp-up of Laine & Aila, "Temporal ensembling for semi-supervised learning", 2017,
    arXiv 1610.02242, section 2. It begins a little above `start`: shape(0) = exp(-5) = 0.0067.
    Arguments and errors as for :class:`LinearSchedule`.
    """

    def shape(self, share: float) -> float:
        """How much of the change is done after a share, in [0, 1), of the duration."""
        return math.exp(-5 * (1 - share) ** 2)


class CosineSchedule(LinearSchedule):
    """From one weight to another along ``shape(t) = (1 - cos(pi t)) / 2``.

    Slow at both ends, fastest in the middle. Arguments and errors as for :class:`LinearSchedule`.
    """

    def shape(self, share: float) -> float:
        """How much of the change is done after a share, in [0, 1), of the duration."""
        return (1 - math.cos(math.pi * share)) / 2
