"""Which of two ways to do the same is faster, measured until that is sure."""

from __future__ import annotations

import time
from collections.abc import Callable

NEEDED_GAIN = 0.95
"""Another way must save a twentieth of the time, so that chance does not choose between equals."""

LEAD = 4
"""Pairs that one way must have won more often than the other.

This is Wald's sequential test of signs (Annals of Mathematical Statistics 16, 1945, p. 117): where
a pair goes to the better way with probability 0.8, the other leads by 4 first with probability
1 / (1 + 4^4) = 0.4 %. Signs do not mind how far off a disturbed measurement is.
"""

MAX_PAIRS = 40
MAX_SECONDS = 10.0


def is_faster(
    other: Callable[[], object],
    usual: Callable[[], object],
    clock: Callable[[], float] = time.perf_counter,
) -> bool:
    """Times two ways in turn until one has won :data:`LEAD` pairs more than the other.

    The other way wins a pair that it does in less than :data:`NEEDED_GAIN` of the usual one's time.
    Without such a lead after :data:`MAX_PAIRS` the usual way stays, and after :data:`MAX_SECONDS`
    unless the other has won every pair: chance disturbs runs that long little. Both have been run
    before: the first run of a kernel may choose and build it.

    Args:
        other: Does it the other way; of a GPU's work waits for the end.
        usual: Does it the usual way.
        clock: Returns seconds.
    """
    lead, begin = 0, clock()
    for pairs in range(1, MAX_PAIRS + 1):
        lead += 1 if _wins(other, usual, clock, is_first=pairs % 2 == 0) else -1
        if abs(lead) == LEAD:
            return lead > 0
        if clock() - begin > MAX_SECONDS:
            return lead == pairs
    return False


def _wins(
    other: Callable[[], object],
    usual: Callable[[], object],
    clock: Callable[[], float],
    *,
    is_first: bool,
) -> bool:
    """Times a pair; the order changes, as one run may leave memory or caches to the next."""
    if is_first:
        seconds = _seconds(other, clock)
        return seconds < NEEDED_GAIN * _seconds(usual, clock)
    limit = NEEDED_GAIN * _seconds(usual, clock)
    return _seconds(other, clock) < limit


def _seconds(run: Callable[[], object], clock: Callable[[], float]) -> float:
    begin = clock()
    run()
    return clock() - begin
