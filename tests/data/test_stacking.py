"""Fields that samples lack, and values that differ in length, against results worked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from sesemi_like.data.stacking import pad_rows, stack_samples


def test_samples_with_equal_fields_are_stacked_as_torch_stacks_them() -> None:
    samples = [
        {"image": torch.full((1, 2, 2), row), "text": f"row {row}", "target": row,
         "tree": {"x": np.arange(3) + row, "y": 0.5}}
        for row in range(3)
    ]  # fmt: skip
    batch = stack_samples(samples)
    expected = default_collate(samples)
    assert list(batch) == ["image", "text", "target", "tree"] == list(expected)
    for name in ("image", "target"):
        assert torch.equal(batch[name], expected[name])
    assert batch["text"] == ["row 0", "row 1", "row 2"]
    assert batch["tree"]["x"].tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert batch["tree"]["y"].dtype == torch.float64


def test_fields_are_stacked_where_present_with_their_positions() -> None:
    """Texts of examples 0, 2 and 3, images of 0, 1 and 3."""
    samples: list[dict[str, Any]] = [
        {"text": {"ids": torch.tensor([0, 0])}, "image": torch.tensor([0.0]), "index": 10},
        {"image": torch.tensor([1.0]), "index": 11},
        {"index": 12, "text": {"ids": torch.tensor([2, 2])}},
        {"text": {"ids": torch.tensor([3, 3])}, "image": torch.tensor([3.0]), "index": 13},
    ]
    batch = stack_samples(samples)
    assert set(batch) == {"text", "text.row", "image", "image.row", "index"}
    assert batch["text.row"].tolist() == [0, 2, 3]
    assert batch["image.row"].tolist() == [0, 1, 3]
    assert batch["text.row"].dtype == batch["image.row"].dtype == torch.int64
    assert batch["text"]["ids"].tolist() == [[0, 0], [2, 2], [3, 3]]
    assert batch["image"].tolist() == [[0.0], [1.0], [3.0]]
    assert batch["index"].tolist() == [10, 11, 12, 13]


def test_a_field_that_no_sample_has_is_not_there() -> None:
    assert stack_samples([{"index": 0}], {"text": len}).keys() == {"index"}


def test_policies_make_fields_of_what_is_present() -> None:
    samples: list[dict[str, Any]] = [
        {"words": ["a"], "index": 0},
        {"index": 1},
        {"words": ["b", "c"], "index": 2},
    ]

    def count(values: list[Any]) -> torch.Tensor:
        return torch.tensor([len(value) for value in values])

    count.source = "words"  # type: ignore[attr-defined]
    batch = stack_samples(samples, {"words": list, "number": count})
    assert batch["words"] == [["a"], ["b", "c"]]
    assert batch["number"].tolist() == [1, 2]
    assert batch["words.row"].tolist() == batch["number.row"].tolist() == [0, 2]
    even = stack_samples(samples[::2], {"words": list, "number": count})
    assert even["number"].tolist() == [1, 2] and "number.row" not in even


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([torch.zeros(3), torch.zeros(5)], r"field 'audio': values of \(3,\), \(5,\) cannot"),
        ([["a"], ["b", "c"]], "field 'audio' cannot be stacked"),
        ([{"x": torch.zeros(3)}, {"x": torch.zeros(5)}], r"field 'audio\.x': values of"),
        ([{"x": 1}, {"x": 1, "y": 2}], r"field 'audio': its parts differ, x and x, y"),
        ([object(), object()], "field 'audio' cannot be stacked"),
    ],
)
def test_what_cannot_be_stacked_is_named_with_a_remedy(values: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        stack_samples([{"audio": value} for value in values])
    if "parts" not in message:
        assert "fields: {audio: list}" in str(caught.value)
        kept = stack_samples([{"audio": value} for value in values], {"audio": list})
        assert kept["audio"] == values


def test_nothing_else_may_be_called_as_positions_are() -> None:
    several: list[list[dict[str, Any]]] = [
        [{"text": 1, "text.row": 5}, {"text.row": 5}],
        [{"text": {"row": 5}, "index": 0}, {"index": 1}],
    ]
    for taken in several:
        with pytest.raises(ValueError, match=r"text\.row holds the positions of 'text'; rename"):
            stack_samples(taken)


@pytest.mark.parametrize(
    ("side", "padded", "is_real"),
    [
        ("right", [[1, 2, 3], [4, 9, 9], [9, 9, 9]], [[1, 1, 1], [1, 0, 0], [0, 0, 0]]),
        ("left", [[1, 2, 3], [9, 9, 4], [9, 9, 9]], [[1, 1, 1], [0, 0, 1], [0, 0, 0]]),
    ],
)
def test_rows_are_padded_to_the_longest(side: str, padded: Any, is_real: Any) -> None:
    for kind in (list, np.array, torch.tensor):
        rows, mask = pad_rows([kind([1, 2, 3]), kind([4]), []], 9, side)
        assert rows.tolist() == padded and rows.dtype == torch.int64
        assert mask.tolist() == [[bool(real) for real in row] for row in is_real]


def test_rows_of_several_axes_are_padded_along_the_first() -> None:
    rows, mask = pad_rows([torch.ones(2, 3), torch.ones(1, 3)])
    assert rows.shape == (2, 2, 3) and rows[1].tolist() == [[1, 1, 1], [0, 0, 0]]
    assert mask.tolist() == [[True, True], [True, False]]
    with pytest.raises(ValueError, match="differ in more than length"):
        pad_rows([torch.ones(2, 3), torch.ones(1, 4)])
