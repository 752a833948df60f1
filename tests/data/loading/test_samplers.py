"""Which rows a pass reads: each once, reshuffled, shared out evenly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sesemi_like.data.loading.samplers import ClassBalancedSampler, PassSampler, RepeatedShard
from sesemi_like.data.samples import Samples


def test_passes_have_orders_of_their_own_that_come_again_under_the_seed() -> None:
    sampler = PassSampler(50, shuffle=True, seed=1)
    first, second = list(sampler), list(sampler)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    again = PassSampler(50, shuffle=True, seed=1)
    again.next_pass = 1
    assert list(again) == second
    assert list(PassSampler(50, shuffle=True, seed=2)) != first
    assert list(PassSampler(3)) == [0, 1, 2]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 20), st.integers(1, 4), st.integers(1, 9))
def test_shards_are_equally_long_and_together_hold_every_row(
    rows: int, repeat: int, world_size: int
) -> None:
    shards = [
        RepeatedShard(PassSampler(rows, shuffle=True), repeat=repeat, rank=r, world_size=world_size)
        for r in range(world_size)
    ]
    read = [list(shard) for shard in shards]
    assert {len(part) for part in read} == {len(shards[0])}
    counts = np.bincount(np.concatenate(read), minlength=rows)
    assert counts.min() >= repeat
    # What fills up the last share is less than one row a process.
    assert counts.sum() - rows * repeat < world_size


def test_passes_go_on_from_any_number() -> None:
    shard = RepeatedShard(PassSampler(10, shuffle=True), repeat=2)
    passes = [list(shard) for _ in range(3)]
    shard.set_pass(2)
    assert list(shard) == passes[2]


def labeled(targets: list[int]) -> Samples:
    return Samples(lambda i: {"image": i}, list(map(str, range(len(targets)))), np.array(targets))


def test_class_balanced_draws_every_class_equally_and_the_unlabeled_never() -> None:
    targets = [0] * 90 + [1] * 9 + [2] + [-1] * 50
    sampler = ClassBalancedSampler(labeled(targets), num_samples=30_000, seed=0)
    rows = np.array(list(sampler))
    assert rows.max() < 100
    shares = np.bincount(np.array(targets)[rows]) / len(rows)
    # Three standard deviations of a share of 1/3 in 30,000 draws are 0.008.
    np.testing.assert_allclose(shares, 1 / 3, atol=0.008)
    of_first = np.bincount(rows[rows < 90], minlength=90)
    assert of_first.min() > 0
    assert len(ClassBalancedSampler(labeled(targets))) == 100


def test_class_balanced_needs_labels() -> None:
    with pytest.raises(ValueError, match="needs labels"):
        ClassBalancedSampler(labeled([-1, -1]))
