"""The random number generators of a run's processes, and their states in a checkpoint."""

from __future__ import annotations

import random
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch


def state() -> dict[str, Any]:
    """Reads this process's generators of torch (the CPU's and its GPU's), NumPy and Python.

    Returns:
        Tensors and plain values only, so that a checkpoint loads with ``weights_only=True``.
    """
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    numpy_state = [str(name), torch.from_numpy(np.asarray(keys).astype(np.int64))]
    cuda = [torch.cuda.get_rng_state()] if torch.cuda.is_initialized() else []
    return {
        "torch": torch.get_rng_state(),
        "cuda": cuda,
        "numpy": [*numpy_state, int(position), int(has_gauss), float(gauss)],
        "python": random.getstate(),
    }


def restore(saved: Mapping[str, Any]) -> None:
    """Puts the generators back where :func:`state` found them.

    Args:
        saved: What :func:`state` returned; the generator of a GPU is left out where there is none.
    """
    torch.set_rng_state(saved["torch"].cpu())
    if saved["cuda"] and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(saved["cuda"][0].cpu())
    name, keys, *rest = saved["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    version, internal, gauss = saved["python"]
    random.setstate((version, tuple(internal), gauss))


def states_of_processes(saved: Any) -> list[dict[str, Any]] | None:
    """The states in a checkpoint, one a process; version 0.1 kept those of the first one alone."""
    return [saved] if isinstance(saved, dict) else saved


def start_process(rank: int, step: int, saved: Sequence[Mapping[str, Any]] | None) -> None:
    """Gives this process the generators it trains with.

    Until now all processes drew alike, so that they built the same networks. The first one goes on
    with its generators; the others are seeded anew, so that dropout differs between devices.

    Args:
        rank: The number of this process.
        step: Where training stands.
        saved: The states of every process in the checkpoint of a resumed run; a process that has
            none there, because there were fewer, is seeded for this step.
    """
    if saved is not None and rank < len(saved):
        restore(saved[rank])
    elif rank > 0:
        _seed(zlib.crc32(f"{torch.initial_seed()}:process {rank}:{step}".encode()))


def seed_of_batch(seed: int, number: int, rank: int) -> int:
    """The seed of what loss heads draw for a batch.

    Args:
        seed: The run's seed.
        number: The number of the batch in the run.
        rank: The number of this process.
    """
    return zlib.crc32(f"{seed}:heads:{number}:{rank}".encode())


def _seed(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
