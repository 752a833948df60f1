"""Reads features from the file of a cache.

Shapes: N rows of the data set, K draws of a view, D features, B rows of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..cache.pixels import FilePixels, PixelCache

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FeatureForm:
    """What the features of a row are.

    Attributes:
        size: D.
        dtype: Their type, that in which the network computed them.
    """

    size: int
    dtype: torch.dtype

    @classmethod
    def of(cls, features: Tensor) -> FeatureForm:
        """The form of features (B, D).

        Raises:
            ValueError: If they have other axes.
        """
        if features.ndim != 2:
            raise ValueError(f"found {tuple(features.shape)}; needs features (N, D)")
        return cls(features.shape[1], features.dtype)

    @property
    def num_bytes(self) -> int:
        """Bytes of one row's features."""
        return self.size * self.dtype.itemsize


class FeatureStore:
    """The features of a data set's rows, some draws of each.

    The file is mapped, not read: what was read need not stay in memory.

    Args:
        cache: A cache of the shape (K, bytes of D features, 1) for each row.
        form: What features are.
        positions: The position of each row, ascending, int64 (N,).
    """

    def __init__(self, cache: PixelCache, form: FeatureForm, positions: Positions) -> None:
        self.cache, self.form, self.positions = cache, form, positions
        self.draws = int(cache.shapes[0, 0])
        row = self.draws * form.num_bytes
        self._places = cache.offsets[:, 1] // row  # rows lie in any order, all of one size
        pixels = cache.chunks[0]
        assert isinstance(pixels, FilePixels)
        shape = len(positions), self.draws, form.num_bytes
        self._content = np.memmap(pixels.path, np.uint8, "r", shape=shape)

    def take(self, positions: Positions, draws: Positions | int = 0) -> Tensor:
        """Reads the features of some rows.

        Args:
            positions: Their positions in the data set, int64 (B,).
            draws: The draw that is read of each, below K, int64 (B,), or of all of them.

        Returns:
            (B, D), on the CPU.
        """
        rows = self._places[np.searchsorted(self.positions, positions)]
        content = np.ascontiguousarray(self._content[rows, draws])
        return torch.from_numpy(content).view(self.form.dtype)
