"""What a collation is given: a list of samples, or stacked fields where it states that it may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch

from sesemi_like.data import Samples, dataset
from sesemi_like.data.batches import Batch
from sesemi_like.data.loading.loaders import build_loader
from sesemi_like.data.samples import Sample

calls: list[Any] = []


def plain_collation(samples: Sequence[Sample]) -> Batch:
    calls.append(samples)
    return {"image": torch.stack([sample["image"] for sample in samples]).float()}


class BatchCollation:
    takes_batches = True

    def __call__(self, samples: Sequence[Sample] | Batch) -> Batch:
        if not isinstance(samples, Mapping):
            return plain_collation(samples)
        calls.append(samples)
        return {"image": samples["image"].float()}


def first_batch(samples: Samples, collation: str) -> Batch:
    calls.clear()
    config: dict[str, Any] = {"collate_fn": {"_target_": f"{__name__}.{collation}"}}
    config["collate_fn"] |= {"_partial_": True} if collation == "plain_collation" else {}
    built = build_loader(config, samples, key="data.train.x", batch_size=3, seed=0)
    return next(iter(built))


@pytest.mark.parametrize("collation", ["plain_collation", "BatchCollation"])
def test_samples_read_at_once_are_given_stacked_only_to_those_that_take_batches(
    collation: str,
) -> None:
    samples = dataset("digits")
    assert isinstance(samples, Samples)
    batch = first_batch(samples, collation)
    assert torch.equal(batch["image"], torch.stack([samples[row]["image"] for row in range(3)]))
    (samples_or_batch,) = calls
    assert type(samples_or_batch) is (dict if collation == "BatchCollation" else list)
    assert len(samples_or_batch) == 3  # samples, or the fields image, target and index


@pytest.mark.parametrize("collation", ["plain_collation", "BatchCollation"])
def test_samples_read_one_by_one_are_given_as_a_list(collation: str) -> None:
    samples = Samples(lambda position: {"image": torch.full((2,), position)}, "abcd")
    assert first_batch(samples, collation)["image"].tolist() == [[0, 0], [1, 1], [2, 2]]
    assert type(calls[0]) is list
