"""Samples that were read at once are a sequence of samples, and their fields are a batch."""

from typing import Any

import pytest
import torch

from sesemi_like.data.batches import StackedSamples, num_rows


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


def test_a_field_of_some_samples_is_in_those_alone() -> None:
    text = {"ids": torch.tensor([[1, 2], [3, 4]]), "raw": ["ab", "cd"]}
    fields = {"text": text, "text.row": torch.tensor([0, 2]), "index": torch.arange(3)}
    samples = StackedSamples(fields)
    assert len(samples) == 3
    assert [set(sample) for sample in samples] == [{"text", "index"}, {"index"}, {"text", "index"}]
    assert samples[2]["text"]["ids"].tolist() == [3, 4]
    assert samples[2]["text"]["raw"] == "cd"


@pytest.mark.parametrize(
    ("field", "rows"),
    [(torch.zeros(3, 2), 3), (["a", "b"], 2), ({"ids": torch.zeros(4), "raw": ["a"] * 4}, 4)],
)
def test_rows_of_a_tree_are_those_of_its_leaves(field: Any, rows: int) -> None:
    assert num_rows(field) == rows


@pytest.mark.parametrize("field", [3, torch.tensor(3), "text", {}])
def test_what_has_no_rows_is_refused(field: Any) -> None:
    with pytest.raises(ValueError, match="needs rows, one for each sample"):
        num_rows(field)
