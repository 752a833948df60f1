"""Reads samples from a cache of pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from ..readers import Draws
from ..samples import Sample
from ..sources.image_reader import ImageReader, to_uint8
from .pixels import PixelCache


class CachedReader:
    """Reads samples from a cache.

    Args:
        reader: Reads what is not in it, and has the transform.
        cache: The pixels.
        positions: The position of each of its images, ascending.
        is_transformed: Whether it holds the transform's results.

    Attributes:
        draws: What is drawn from by what is left to do.
    """

    def __init__(
        self,
        reader: ImageReader,
        cache: PixelCache,
        positions: npt.NDArray[np.int64],
        *,
        is_transformed: bool,
    ) -> None:
        self.reader, self.cache, self.positions = reader, cache, positions
        self.is_transformed = is_transformed
        self.draws = Draws.NOTHING if is_transformed else reader.draws

    def __call__(self, position: int) -> Sample:
        """Reads the sample at a position."""
        pixels = self.cache[int(np.searchsorted(self.positions, position))]
        if pixels is None:
            return self.reader(position)  # says why it cannot be read
        if self.is_transformed:
            return {"image": to_uint8(pixels)}
        return self.reader.sample_of(pixels)


class CachedBatchReader(CachedReader):
    """Reads whole batches from a cache whose images are transformed and of one shape."""

    def take(self, positions: npt.NDArray[np.int64]) -> Sample:
        """Reads several samples: `image` is uint8 (len(positions), C, H, W)."""
        rows = np.searchsorted(self.positions, positions)
        return {"image": torch.from_numpy(self.cache.take(rows)).permute(0, 3, 1, 2)}


def cached_reader(
    reader: ImageReader,
    cache: PixelCache,
    positions: npt.NDArray[np.int64],
    *,
    is_transformed: bool,
) -> CachedReader:
    """The reader of a cache: of whole batches where it has nothing left to do but look them up.

    Args:
        reader: As in :class:`CachedReader`, as the others.
        cache: See there.
        positions: See there.
        is_transformed: See there.
    """
    kind = CachedBatchReader if is_transformed and cache.is_one_shape else CachedReader
    return kind(reader, cache, positions, is_transformed=is_transformed)
