"""The fixed set of permutations a jigsaw puzzle is shuffled by.

Shapes: T tiles, P permutations.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from sesemi_like.views.checks import check

GRIDS = (2, 3)
DEFAULT_COUNT = 100


def permutation_set(grid: int, num_permutations: int | None = None) -> Tensor:
    """Chooses permutations of the tiles that differ as much as possible.

    Greedy, from the identity on: the next permutation is the one whose smallest Hamming distance
    to those chosen is largest; among equals the one with the largest total distance, then the
    first in lexicographic order (after arXiv:1603.09246, algorithm 1). All permutations, where
    so many are asked for, stand in lexicographic order. The same on every machine.

    Args:
        grid: Tiles along a side, 2 or 3.
        num_permutations: P; None takes all 24 of a 2 x 2 grid and 100 of a 3 x 3 grid.

    Returns:
        int64 (P, T) with T = grid * grid, the identity first.

    Raises:
        ValueError: The grid is another one, or there are fewer than 2 or more than T! permutations.
    """
    check(grid in GRIDS, "grid", grid, "2 or 3 tiles along a side")
    total = math.factorial(grid * grid)
    count = min(DEFAULT_COUNT, total) if num_permutations is None else num_permutations
    fits = type(count) is int and 2 <= count <= total
    check(fits, "num_permutations", num_permutations, f"an integer from 2 to {total}")
    return torch.from_numpy(distant_permutations(grid * grid, count).copy())


@lru_cache(maxsize=8)
def distant_permutations(tiles: int, count: int) -> np.ndarray:
    """Makes the set: int64 (P, T)."""
    candidates = np.array(list(itertools.permutations(range(tiles))), dtype=np.uint8)
    if count == len(candidates):
        return candidates.astype(np.int64)
    nearest = np.full(len(candidates), tiles, dtype=np.int64)
    total = np.zeros(len(candidates), dtype=np.int64)
    chosen = [0]
    while len(chosen) < count:
        distance = (candidates != candidates[chosen[-1]]).sum(axis=1)
        nearest, total = np.minimum(nearest, distance), total + distance
        # A chosen one has distance 0 to itself, all others more: none is chosen twice.
        chosen.append(int(np.argmax(nearest * (tiles * count) + total)))
    return candidates[chosen].astype(np.int64)
