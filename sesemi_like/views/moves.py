"""Views that only take pixels from other places: crops and flips, composed into one lookup.

Shapes: N images, C channels, H height, W width; h, w those of the result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sesemi_like.views.images import as_float, check_images


class Places(NamedTuple):
    """Where the pixels of a result come from, rows and columns apart.

    Attributes:
        rows: int64 (N, h), rows of the source; -1 for none, which shows black.
        columns: int64 (N, w), columns of the source; -1 for none.
    """

    rows: Tensor
    columns: Tensor


class PixelMove(ABC):
    """A view whose pixels are the source's, in other places.

    Moves that follow one another in a `Compose` are made as one, on the images' own type.
    """

    leaves_gaps = False
    """Whether a place may come from nowhere."""

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Makes the view.

        Args:
            images: (N, C, H, W), uint8 in [0, 255] or float in [0, 1].
            generator: Source of all random draws, on the CPU; None takes torch's global one.

        Returns:
            float32 (N, C, h, w).

        Raises:
            ValueError: The images have another shape or type, or are too small for it.
        """
        return as_float(moved(check_images(images), [self], generator))

    def alone(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Makes this one move, keeping the images' type; subclasses may know a faster way."""
        return looked_up(images, [self], generator)

    @abstractmethod
    def places(self, source: Places, generator: torch.Generator | None) -> Places:
        """Says where pixels come from, given where those of the images before it come from."""


def moved(images: Tensor, moves: Sequence[PixelMove], generator: torch.Generator | None) -> Tensor:
    """Applies moves one after the other, at once where they are several.

    Args:
        images: (N, C, H, W) of any type.
        moves: What is done to them, in this order.
        generator: Source of the draws.

    Returns:
        (N, C, h, w) of the same type.
    """
    if len(moves) == 1:
        return moves[0].alone(images, generator)
    return looked_up(images, moves, generator)


def looked_up(
    images: Tensor, moves: Sequence[PixelMove], generator: torch.Generator | None
) -> Tensor:
    """Applies moves one after the other by looking every pixel up once; see :func:`moved`."""
    count, _, height, width = images.shape
    places = Places(
        torch.arange(height, device=images.device).expand(count, -1),
        torch.arange(width, device=images.device).expand(count, -1),
    )
    for move in moves:
        places = move.places(places, generator)
    taken = take(images, places)
    return blank(taken, places) if any(move.leaves_gaps for move in moves) else taken


def take(images: Tensor, places: Places) -> Tensor:
    """Looks pixels up: images (N, C, H, W) to (N, C, h, w); a place -1 shows any pixel."""
    count, channels, _, width = images.shape
    rows, columns = places.rows.clamp(min=0), places.columns.clamp(min=0)
    index = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)[:, None]
    pixels = images.flatten(2).gather(2, index.expand(-1, channels, -1))
    return pixels.reshape(count, channels, rows.shape[1], columns.shape[1])


def blank(images: Tensor, places: Places) -> Tensor:
    """Blackens the pixels of images (N, C, h, w) that come from nowhere."""
    nowhere = (places.rows < 0)[:, None, :, None] | (places.columns < 0)[:, None, None, :]
    return images.masked_fill(nowhere, 0)
