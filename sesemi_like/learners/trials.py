"""Which of two ways to do the same is faster, measured until that is sure."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from ..distributed import gather_rows, world_size

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
    device: torch.device | str = "cpu",
) -> bool:
    """Times two ways in turn until one has won :data:`LEAD` pairs more than the other.

    The other way wins a pair that it does in less than :data:`NEEDED_GAIN` of the usual one's time.
    Without such a lead after :data:`MAX_PAIRS` the usual way stays, and after :data:`MAX_SECONDS`
    unless the other has won every pair: chance disturbs runs that long little. Both have been run
    before: the first run of a kernel may choose and build it.

    Of several processes the slowest counts, as in a step. All of them make equally many runs, for
    what is run may wait for the other processes itself, and find the same.

    Args:
        other: Does it the other way; of a GPU's work waits for the end.
        usual: Does it the usual way.
        clock: Returns seconds.
        device: Where the processes communicate.
    """
    lead, spent = 0, 0.0
    for pairs in range(1, MAX_PAIRS + 1):
        seconds = _seconds_of_pair(other, usual, clock, is_first=pairs % 2 == 0)
        of_other, of_usual = _slowest(seconds, device)
        spent += of_other + of_usual
        lead += 1 if of_other < NEEDED_GAIN * of_usual else -1
        if abs(lead) == LEAD:
            return lead > 0
        if spent > MAX_SECONDS:
            return lead == pairs
    return False


def _seconds_of_pair(
    other: Callable[[], object],
    usual: Callable[[], object],
    clock: Callable[[], float],
    *,
    is_first: bool,
) -> tuple[float, float]:
    """Times a pair; the order changes, as one run may leave memory or caches to the next."""
    if is_first:
        of_other = _seconds(other, clock)
        return of_other, _seconds(usual, clock)
    of_usual = _seconds(usual, clock)
    return _seconds(other, clock), of_usual


def _slowest(seconds: tuple[float, float], device: torch.device | str) -> tuple[float, float]:
    """The longest times of all processes."""
    if world_size() == 1:
        return seconds
    gathered = gather_rows(torch.tensor([seconds], device=device), equal=True)
    other, usual = gathered.amax(dim=0).tolist()
    return other, usual


def _seconds(run: Callable[[], object], clock: Callable[[], float]) -> float:
    begin = clock()
    run()
    return clock() - begin
