"""Predictions of batches and processes put together: tensors, texts, ragged and nested values."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from processes import in_processes

from sesemi_like import gathering
from sesemi_like.gathering import gather
from sesemi_like.predictions import Predictions


def test_samples_that_fill_up_a_share_count_once_in_order() -> None:
    parts = [
        Predictions(torch.tensor(t), torch.tensor(i), {"model": {"logits": torch.tensor(o)}})
        for t, i, o in [([5, 3], [2, 0], [[2.0], [0.0]]), ([4, 3], [1, 0], [[1.0], [9.0]])]
    ]
    found = Predictions.concatenate(parts).deduplicate()
    assert found.index.tolist() == [0, 1, 2]
    assert found.labels.tolist() == [3, 4, 5]
    assert found.outputs["model"]["logits"][:, 0].tolist() == [0, 1, 2]


def of_rows(index: list[int]) -> Predictions:
    """Values that tell of which sample they are: of every kind."""
    rows = torch.tensor(index, dtype=torch.int64)
    batch = {
        "index": rows,
        "text": [f"no. {i}" for i in index],
        "image": torch.tensor([[float(i)] for i in index if i % 2]).reshape(-1, 1),
        "image.row": torch.tensor([p for p, i in enumerate(index) if i % 2], dtype=torch.int64),
    }
    outputs: dict[str, Any] = {
        "model": {"half": rows[:, None].half() / 4, "is_odd": rows % 2 == 1, "unread": rows},
        "text": {"tokens": {"ids": [torch.full((i % 3,), i) for i in index]}},
        "box": [{"corner": i} for i in index],
    }
    needs = {"half", "is_odd", "text.tokens", "box", "text", "image"}
    return Predictions.of_batch(batch, outputs, needs)


def check_rows(found: Predictions, index: list[int]) -> None:
    assert found.target is None
    assert found.index.tolist() == index
    assert found.columns["text"] == [f"no. {i}" for i in index]
    images = [None if row is None else row.tolist() for row in found.columns["image"]]
    assert images == [[float(i)] if i % 2 else None for i in index]
    model = found.outputs["model"]
    assert set(model) == {"half", "is_odd"}
    assert model["half"].dtype == torch.float32
    assert model["half"].tolist() == [[i / 4] for i in index]
    assert model["is_odd"].tolist() == [i % 2 == 1 for i in index]
    tokens = found.outputs["text"]["tokens"]["ids"]
    assert [row.tolist() for row in tokens] == [[i] * (i % 3) for i in index]
    assert found.outputs["box"] == [{"corner": i} for i in index]


def test_values_of_every_kind_are_concatenated_selected_and_sorted() -> None:
    found = Predictions.concatenate([of_rows([4, 1, 2]), of_rows([5, 1])]).deduplicate()
    check_rows(found, [1, 2, 4, 5])
    check_rows(found.select(torch.tensor([3, 0])), [5, 1])
    check_rows(found.select(torch.tensor([True, False, False, True])), [1, 5])


def test_tensors_whose_rows_differ_between_batches_become_lists() -> None:
    parts = [
        Predictions(None, torch.arange(2), {"text": {"tokens": torch.ones(2, length)}})
        for length in (3, 5)
    ]
    tokens = Predictions.concatenate(parts).outputs["text"]["tokens"]
    assert [len(row) for row in tokens] == [3, 3, 5, 5]


def test_labels_that_are_not_there_are_asked_for_in_vain() -> None:
    with pytest.raises(ValueError, match="no field target"):
        of_rows([1]).labeled()


def test_a_value_without_a_row_per_sample_is_reported() -> None:
    batch = {"index": torch.arange(3)}
    with pytest.raises(ValueError, match=r"model: found shape \(2,\); needs a row for each of 3"):
        Predictions.of_batch(batch, {"model": {"logits": torch.zeros(2)}})


def test_outputs_of_some_rows_are_spread_over_all() -> None:
    batch = {"index": torch.arange(4)}
    outputs = {"model": {"logits": torch.tensor([[1.0], [3.0]])}}
    found = Predictions.of_batch(batch, outputs, rows={"model": torch.tensor([1, 3])})
    logits = found.outputs["model"]["logits"]
    assert [None if row is None else row.tolist() for row in logits] == [None, [1.0], None, [3.0]]


def pickled_floats(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.is_floating_point()
    if isinstance(value, dict):
        return any(pickled_floats(item) for item in value.values())
    return isinstance(value, list | tuple) and any(pickled_floats(item) for item in value)


def gather_unevenly(rank: int, shares: list[list[int]]) -> None:
    dist.init_process_group("gloo", rank=rank, world_size=len(shares))
    module: Any = gathering
    through: Callable[[Any], Any] = module.gather_objects

    def watched(value: Any) -> Any:
        assert not pickled_floats(value)
        return through(value)

    module.gather_objects = watched
    found = gather(of_rows(shares[rank]) if shares[rank] else None)
    assert found is not None
    check_rows(found, [i for share in shares for i in share])
    assert gather(None) is None


@pytest.mark.parametrize("shares", [[[3, 0, 4], [2]], [[], [5, 2]], [[1], [0]]])
def test_processes_gather_values_of_every_kind(shares: list[list[int]]) -> None:
    in_processes(gather_unevenly, shares)
