"""The seed that the processes of a run agree on before they are joined."""

from __future__ import annotations

import os
from typing import Any

from ..models.weights import read_metadata
from .agreement import agree


def choose_seed(given: int | None, *, resumed: str | None = None, num_nodes: int = 1) -> int:
    """Chooses the seed of a run, the same on all of its processes however they were launched.

    Args:
        given: `run.seed`, or None to draw one.
        resumed: The checkpoint that is resumed from, whose seed is taken instead of a new one.
        num_nodes: `run.num_nodes`.

    Raises:
        ConfigError: If one is to be drawn and the other processes cannot be reached.
    """
    if given is not None:
        return given
    settings: dict[str, Any] = {"key": "run.seed", "advice": "give one", "num_nodes": num_nodes}
    return int(agree("SEED", lambda: _draw_seed(resumed), **settings))


def _draw_seed(resumed: str | None) -> int:
    seed = _seed_in_checkpoint(resumed) if resumed else None
    return int.from_bytes(os.urandom(4), "big") if seed is None else seed


def _seed_in_checkpoint(path: str) -> int | None:
    """The seed of the run that wrote a checkpoint; whether that can be read is checked later."""
    try:
        return int(read_metadata(path)["DataModule"]["seed"])
    except Exception:
        return None
