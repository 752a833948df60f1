"""Rotation and jigsaw against arrays written by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sesemi_like.views import Jigsaw, Rotation
from sesemi_like.views.pretext import rotate_all, shuffle_tiles


def test_rotation_turns_counter_clockwise() -> None:
    images = torch.tensor([[[[1, 2], [3, 4]]], [[[5, 6], [7, 8]]]], dtype=torch.uint8)
    turned, targets = rotate_all(images)
    assert turned[:, 0].tolist() == [
        [[1, 2], [3, 4]],
        [[2, 4], [1, 3]],
        [[4, 3], [2, 1]],
        [[3, 1], [4, 2]],
        [[5, 6], [7, 8]],
        [[6, 8], [5, 7]],
        [[8, 7], [6, 5]],
        [[7, 5], [8, 6]],
    ]
    assert targets.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]


def test_rotation_view_is_numpys() -> None:
    images = torch.rand(3, 3, 5, 5)
    result = Rotation()(images)
    for image, target, row in zip(result["image"], result["target"], range(12), strict=True):
        expected = np.rot90(images[row // 4].numpy(), int(target), axes=(1, 2))
        np.testing.assert_array_equal(image.numpy(), expected)


def test_rotation_of_other_shapes_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"height 4, width 6.*square.*crop or resize"):
        Rotation()(torch.rand(2, 3, 4, 6))


def test_shuffled_tiles() -> None:
    images = torch.tensor([[[[1, 2], [3, 4]]], [[[5, 6], [7, 8]]]])
    permutations = torch.tensor([[3, 0, 1, 2], [1, 0, 2, 3]])
    assert shuffle_tiles(images, permutations, grid=2)[:, 0].tolist() == [
        [[4, 1], [2, 3]],
        [[6, 5], [7, 8]],
    ]


def test_tiles_keep_their_inside_and_uneven_sides_are_cropped_at_the_center() -> None:
    # 5 x 6, of which the upper 4 rows (0 spare pixels above, 1 below) make 2 x 3 tiles.
    image = torch.tensor(
        [
            [1, 1, 2, 3, 3, 4],
            [1, 2, 2, 3, 4, 4],
            [5, 5, 6, 7, 7, 8],
            [5, 6, 6, 7, 8, 8],
            [9, 9, 9, 9, 9, 9],
        ]
    )
    shuffled = shuffle_tiles(image[None, None], torch.tensor([[2, 3, 1, 0]]), grid=2)
    assert shuffled[0, 0].tolist() == [
        [5, 5, 6, 7, 7, 8],
        [5, 6, 6, 7, 8, 8],
        [3, 3, 4, 1, 1, 2],
        [3, 4, 4, 1, 2, 2],
    ]


@pytest.mark.parametrize(("grid", "count", "side"), [(2, 24, 6), (3, 20, 7)])
def test_jigsaw_targets_name_the_permutation(grid: int, count: int, side: int) -> None:
    view = Jigsaw(grid, count)
    images = torch.rand(60, 3, side, side)
    result = view(images, torch.Generator().manual_seed(0))
    expected = shuffle_tiles(images, view.permutations[result["target"]], grid)
    assert torch.equal(result["image"], expected)
    assert result["target"].max() < count
    assert len(result["target"].unique()) > 10


def test_images_smaller_than_the_grid_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 3 pixels"):
        Jigsaw(3, 5)(torch.rand(1, 1, 2, 9))
