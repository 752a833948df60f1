"""The jigsaw's set of permutations: complete, distinct, far apart, always the same."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from sesemi_like.views import permutation_set


def hamming_distances(permutations: np.ndarray) -> np.ndarray:
    distances: np.ndarray = (permutations[:, None] != permutations[None]).sum(-1)
    return distances


def greedy_by_loops(tiles: int, count: int) -> list[tuple[int, ...]]:
    """The choice as it is described, one candidate at a time."""
    candidates = list(itertools.permutations(range(tiles)))
    chosen = candidates[:1]
    while len(chosen) < count:
        scores = []
        for candidate in candidates:
            distances = [sum(a != b for a, b in zip(candidate, c, strict=True)) for c in chosen]
            scores.append((min(distances), sum(distances)))
        chosen.append(candidates[scores.index(max(scores))])
    return chosen


def test_all_permutations_of_four_tiles() -> None:
    expected = list(itertools.permutations(range(4)))
    assert permutation_set(2).tolist() == [list(p) for p in expected]


@pytest.mark.parametrize("count", [2, 5, 13])
def test_choice_is_the_greedy_one(count: int) -> None:
    assert permutation_set(2, count).tolist() == [list(p) for p in greedy_by_loops(4, count)]


def test_permutations_of_nine_tiles_are_far_apart() -> None:
    permutations = permutation_set(3, 30).numpy()
    assert permutations.shape == (30, 9)
    assert np.array_equal(np.sort(permutations, axis=1), np.tile(np.arange(9), (30, 1)))
    assert permutations[0].tolist() == list(range(9))
    distances = hamming_distances(permutations) + 9 * np.eye(30, dtype=int)
    random = np.random.default_rng(0).permuted(np.tile(np.arange(9), (30, 1)), axis=1)
    assert distances.min() == 7
    assert (hamming_distances(random) + 9 * np.eye(30, dtype=int)).min() < 7
    # Nine permutations can differ from one another in every place; greedy choice finds them.
    assert distances[:9, :9].min() == 9


def test_a_changed_result_does_not_change_the_set() -> None:
    permutation_set(2, 4).zero_()
    assert torch.equal(permutation_set(2, 4)[0], torch.arange(4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((4,), "grid: found 4; expected 2 or 3"),
        ((2, 25), "num_permutations: found 25; expected an integer from 2 to 24"),
        ((2, 1), "num_permutations: found 1; expected"),
    ],
)
def test_errors_name_the_argument(arguments: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        permutation_set(*arguments)
