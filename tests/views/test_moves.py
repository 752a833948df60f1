"""Moves of pixels: one lookup for several of them, compared with doing them one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from sesemi_like.views import Compose, HorizontalFlip, Normalize, RandomCrop
from sesemi_like.views.moves import PixelMove, Places, moved

SEQUENCES: list[Sequence[PixelMove]] = [
    [RandomCrop(3), HorizontalFlip()],
    [HorizontalFlip(), RandomCrop(2, size=[5, 8]), HorizontalFlip(0.3)],
    [RandomCrop(2, mode="constant"), RandomCrop(3), HorizontalFlip(1.0)],
]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("moves", SEQUENCES)
def test_moves_made_at_once_are_those_made_one_by_one(moves: Sequence[PixelMove]) -> None:
    images = torch.randint(1, 256, (40, 3, 9, 11), dtype=torch.uint8)
    at_once = moved(images, moves, generator())
    one_by_one, draws = images, generator()
    for move in moves:
        one_by_one = moved(one_by_one, [move], draws)
    assert at_once.dtype == torch.uint8
    assert torch.equal(at_once, one_by_one)


def test_places_of_pixels_are_rows_and_columns() -> None:
    class Transposed(PixelMove):
        def places(self, source: Places, generator: torch.Generator | None) -> Places:
            return Places(source.rows[:, [2, 0]], source.columns[:, [1, 3, 3]])

    image = np.arange(24, dtype=np.uint8).reshape(1, 1, 4, 6)
    result = moved(torch.from_numpy(image), [Transposed()], None)
    assert np.array_equal(result.numpy(), image[:, :, [2, 0]][..., [1, 3, 3]])


def test_a_composition_of_uint8_images_gives_what_floats_give() -> None:
    images = torch.randint(256, (16, 3, 8, 8), dtype=torch.uint8)
    steps = [RandomCrop(2), HorizontalFlip()]
    view, normalized = Compose(steps), Compose([*steps, Normalize([0.5, 0.4, 0.3], 0.2)])
    moved_pixels: Any = view(images, generator())
    as_floats: Any = view(images.float() / 255, generator())
    assert torch.equal(moved_pixels, as_floats)
    expected = (moved_pixels - torch.tensor([0.5, 0.4, 0.3]).reshape(3, 1, 1)) / 0.2
    torch.testing.assert_close(normalized(images, generator()), expected, atol=2e-6, rtol=0)


def test_own_steps_after_moves_are_given_floats() -> None:
    found = []

    def own(images: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        found.append(images.dtype)
        return images

    Compose([RandomCrop(1), own])(torch.zeros(2, 3, 4, 4, dtype=torch.uint8))
    assert found == [torch.float32]


def test_an_empty_batch_stays_empty() -> None:
    images = torch.zeros(0, 3, 8, 8, dtype=torch.uint8)
    assert Compose([RandomCrop(2), HorizontalFlip()])(images).shape == (0, 3, 8, 8)
    assert RandomCrop(2)(images.float()).shape == (0, 3, 8, 8)
