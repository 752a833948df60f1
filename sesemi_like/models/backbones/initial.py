"""Whether networks are built with weights they may download or read, or others follow anyway."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import nn

_left_out: ContextVar[list[nn.Module] | None] = ContextVar("left_out", default=None)


@contextmanager
def without_initial_weights(follows: bool = True) -> Iterator[list[nn.Module]]:
    """Builds networks as they are, without weights to begin with: a checkpoint's follow.

    Args:
        follows: Whether a checkpoint follows; without one nothing changes.

    Yields:
        The networks that were built so, though they have weights to begin with.
    """
    noted: list[nn.Module] = []
    token = _left_out.set(noted if follows else None)
    try:
        yield noted
    finally:
        _left_out.reset(token)


def leaves_out_initial_weights(network: nn.Module | None = None) -> bool:
    """Whether weights to begin with are not to be loaded now.

    Args:
        network: The network that would have them; it is noted down.
    """
    found = _left_out.get()
    if found is not None and network is not None:
        found.append(network)
    return found is not None
