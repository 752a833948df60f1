"""Rotation and jigsaw batches against arrays written by hand."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from sesemi_like.collation import JigsawTransformer, RotationTransformer
from sesemi_like.views import Rotation

FIRST = torch.tensor([[[1, 2], [3, 4]]], dtype=torch.uint8)
SECOND = torch.tensor([[[5, 6], [7, 8]]], dtype=torch.uint8)
TURNED = [
    [[1, 2], [3, 4]],
    [[2, 4], [1, 3]],
    [[4, 3], [2, 1]],
    [[3, 1], [4, 2]],
    [[5, 6], [7, 8]],
    [[6, 8], [5, 7]],
    [[8, 7], [6, 5]],
    [[7, 5], [8, 6]],
]


@pytest.mark.parametrize(
    "samples", [[FIRST, SECOND], [(FIRST, 9), (SECOND, 8)], [{"image": FIRST}, {"image": SECOND}]]
)
def test_rotation_batch(samples: list[Any]) -> None:
    batch = RotationTransformer()(samples)
    assert sorted(batch) == ["image", "target"]
    assert batch["image"][:, 0].tolist() == TURNED
    assert batch["image"].dtype == torch.uint8
    assert batch["target"].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert batch["target"].dtype == torch.int64


def test_indices_go_along_and_labels_are_replaced() -> None:
    samples = [
        {"image": FIRST, "target": 7, "index": 30},
        {"image": SECOND, "target": 7, "index": torch.tensor(11)},
    ]
    batch = RotationTransformer()(samples)
    assert batch["index"].tolist() == [30, 30, 30, 30, 11, 11, 11, 11]
    assert batch["target"].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert JigsawTransformer()(samples)["index"].tolist() == [30, 11]


def test_collation_and_view_agree() -> None:
    batch = RotationTransformer()([FIRST, SECOND])
    view = Rotation()(torch.stack([FIRST, SECOND]))
    assert torch.equal(batch["image"] / 255, view["image"])
    assert torch.equal(batch["target"], view["target"])


def test_jigsaw_batch() -> None:
    torch.manual_seed(0)
    batch = JigsawTransformer(grid=2)([(FIRST, 0)] * 200)
    assert sorted(batch) == ["image", "target"]
    # One pixel a tile, holding the number of its place: an image reads as its permutation.
    permutations = list(itertools.permutations([1, 2, 3, 4]))
    for image, target in zip(batch["image"], batch["target"], strict=True):
        assert tuple(image.flatten().tolist()) == permutations[int(target)]
    assert batch["target"].unique().tolist() == list(range(24))


def test_jigsaw_of_nine_tiles() -> None:
    transformer = JigsawTransformer(grid=3, num_permutations=10)
    image = torch.arange(9.0).reshape(1, 3, 3)
    batch = transformer([image] * 100)
    expected = transformer.jigsaw.permutations[batch["target"]]
    assert torch.equal(batch["image"].flatten(1).long(), expected)
    assert batch["target"].unique().tolist() == list(range(10))


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (
            [FIRST, FIRST[:, :1]],
            r"image: found 'shapes \[\(1, 1, 2\), \(1, 2, 2\)\]'; expected one",
        ),
        ([torch.rand(1, 2, 3)] * 2, "height 2, width 3.*square"),
        ([{"image": "a.jpg"}], "image: found 'a str'; expected a tensor"),
    ],
)
def test_bad_samples_are_named(samples: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RotationTransformer()(samples)


def test_a_loader_builds_batches_in_its_workers() -> None:
    samples: Any = [{"image": FIRST, "index": number} for number in range(6)]
    loader: DataLoader[Any] = DataLoader(
        samples, batch_size=4, num_workers=1, collate_fn=JigsawTransformer(), drop_last=False
    )
    assert [len(batch["target"]) for batch in loader] == [4, 2]


@pytest.mark.parametrize("transformer", [RotationTransformer(), JigsawTransformer()])
def test_stacked_fields_make_the_batch_that_their_samples_make(transformer: Any) -> None:
    fields = {"image": torch.rand(3, 1, 4, 4), "index": torch.arange(5, 8)}
    samples = [{name: values[row] for name, values in fields.items()} for row in range(3)]
    torch.manual_seed(0)
    one_by_one = transformer(samples)
    torch.manual_seed(0)
    at_once = transformer(fields)
    assert transformer.takes_batches
    assert set(at_once) == set(one_by_one) == {"image", "target", "index"}
    assert all(torch.equal(at_once[name], one_by_one[name]) for name in at_once)
    assert "index" not in transformer({"image": fields["image"]})
