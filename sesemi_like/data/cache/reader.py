"""Reads samples from a cache of pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from ..samples import ImageReader, Sample, to_uint8
from .pixels import PixelCache


class CachedReader:
    """Reads samples from a cache.

    Args:
        reader: Reads what is not in it, and has the transform.
        cache: The pixels.
        positions: The position of each of its images, ascending.
        is_transformed: Whether it holds the transform's results.

    Attributes:
        take: Reads several samples at once: positions to stacked fields; None where images
            differ in shape or are still to be transformed.
        is_deterministic: Whether what is left to do is known to draw nothing.
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
        self.is_deterministic = is_transformed or reader.is_deterministic
        self.take = self._take if is_transformed and cache.is_one_shape else None

    def __call__(self, position: int) -> Sample:
        """Reads the sample at a position."""
        pixels = self.cache[int(np.searchsorted(self.positions, position))]
        if pixels is None:
            return self.reader(position)  # says why it cannot be read
        if self.is_transformed:
            return {"image": to_uint8(pixels)}
        return self.reader.made(pixels)

    def _take(self, positions: npt.NDArray[np.int64]) -> Sample:
        rows = np.searchsorted(self.positions, positions)
        return {"image": torch.from_numpy(self.cache.take(rows)).permute(0, 3, 1, 2)}
