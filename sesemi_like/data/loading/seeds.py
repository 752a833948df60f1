"""Seeds of the parts of a run, and generators seeded by them."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch.utils.data import get_worker_info

from ...views.draws import SharedGenerator


def seed_of(seed: int, name: str) -> int:
    """The seed of a named part of a run: the same on every machine, different for every name."""
    return zlib.crc32(f"{seed}:{name}".encode())


def batch_generator(seed: int, name: str, rank: int = 0, world_size: int = 1) -> torch.Generator:
    """The generator that draws for one batch of a run.

    Args:
        seed: The run's seed.
        name: Identifies the batch, and what is drawn for it.
        rank: The number of this process.
        world_size: The number of processes that share the batch; the rows of each get the draws
            that they would get if one process had the whole batch.
    """
    whole = seed_of(seed, f"{name}:0")
    if world_size == 1:
        return torch.Generator().manual_seed(whole)
    return SharedGenerator(whole, seed_of(seed, f"{name}:{rank} of {world_size}"), rank, world_size)


def seed_torch(seed: int) -> None:
    """Seeds torch's CPU generator alone, in a tenth of the time that seeding all three takes."""
    torch.default_generator.manual_seed(seed)


def seed_generators(seed: int) -> None:
    """Seeds the generators that transforms draw from: torch's on the CPU, NumPy's and Python's."""
    # torch.manual_seed also seeds every other device, and takes a hundred times as long.
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


@contextmanager
def preserve_generators() -> Iterator[None]:
    """Restores the generators of this process at exit; those of worker processes are not kept."""
    if get_worker_info() is not None:
        yield
        return
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
