"""Data sets of a known type: those with positions and those of shards."""

from typing import Any

from sesemi_like.data import dataset
from sesemi_like.data.samples import Samples
from sesemi_like.data.sources.shards import ShardedSamples


def indexed(name: str, *arguments: Any, **settings: Any) -> Samples:
    """A data set whose samples have positions; arguments as of `dataset`."""
    samples = dataset(name, *arguments, **settings)
    assert isinstance(samples, Samples)
    return samples


def sharded(*arguments: Any, **settings: Any) -> ShardedSamples:
    """A data set of shards; arguments as of `dataset`."""
    samples = dataset("shards", *arguments, **settings)
    assert isinstance(samples, ShardedSamples)
    return samples
