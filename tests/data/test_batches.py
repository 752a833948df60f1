"""Samples that were read at once are a sequence of samples, and their fields are a batch."""

import pytest
import torch

from sesemi_like.data.batches import StackedSamples


def test_stacked_samples_are_a_sequence_of_samples() -> None:
    fields = {"image": torch.rand(3, 1, 4, 4), "index": torch.arange(5, 8)}
    samples = StackedSamples(fields)
    assert len(samples) == 3
    assert [int(sample["index"]) for sample in samples] == [5, 6, 7]
    assert int(samples[-1]["index"]) == 7
    assert [int(sample["index"]) for sample in samples[1:]] == [6, 7]
    assert torch.equal(samples[1]["image"], fields["image"][1])
    assert samples.fields is fields
    for beyond in (3, -4):
        with pytest.raises(IndexError):
            samples[beyond]
