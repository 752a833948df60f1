"""Skips the initial weights of networks whose weights a checkpoint replaces."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import nn

_skipped: ContextVar[list[nn.Module] | None] = ContextVar("left_out", default=None)


@contextmanager
def without_initial_weights(follows: bool = True) -> Iterator[list[nn.Module]]:
    """Builds networks without downloading or reading initial weights.

    Args:
        follows: Whether a checkpoint is loaded afterwards; without one nothing changes.

    Yields:
        The networks whose initial weights were skipped.
    """
    noted: list[nn.Module] = []
    token = _skipped.set(noted if follows else None)
    try:
        yield noted
    finally:
        _skipped.reset(token)


def skips_initial_weights(network: nn.Module | None = None) -> bool:
    """Returns whether initial weights are skipped now, as those on the meta device always are.

    Args:
        network: The network that would have them; it is recorded.
    """
    skipped = _skipped.get()
    if skipped is not None and network is not None:
        skipped.append(network)
    return skipped is not None or torch.empty(0).is_meta
