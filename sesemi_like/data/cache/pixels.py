"""Decoded images: flat arrays of uint8 pixels, in memory or in files.

Shapes: N images.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


class FilePixels:
    """The pixels of a file, of which each slice is read on access.

    Reading takes as long as copying from a memory-mapped file does, but what was read does not stay
    resident: memory is the same for a thousand images and for a million. Processes can be handed
    it, forked or not.

    Args:
        path: The file.
        claim: What keeps it from being removed while this object lives.
    """

    def __init__(self, path: Path, claim: object = None) -> None:
        self.path, self.claim = path, claim
        self._file: IO[bytes] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "claim": None, "_file": None}

    def __getitem__(self, piece: slice) -> Pixels:
        out: Pixels = np.empty(piece.stop - piece.start, np.uint8)
        if not hasattr(os, "preadv"):  # on Windows
            out[:] = np.memmap(self.path, np.uint8, "r")[piece]
            return out
        if self._file is None:
            self._file = self.path.open("rb", buffering=0)
        if os.preadv(self._file.fileno(), [out.data], piece.start) != len(out):
            raise OSError(f"{self.path} is shorter than its index says")
        return out


@dataclass(frozen=True)
class PixelCache:
    """Decoded images.

    Attributes:
        chunks: All pixels, in arrays of uint8 or files of them.
        offsets: int64 (N, 2): the chunk of each image, and where in it the image begins.
        shapes: int64 (N, 3): sizes along its axes; zeros for one that cannot be read.
    """

    chunks: list[Pixels] | list[FilePixels]
    offsets: npt.NDArray[np.int64]
    shapes: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, position: int) -> Pixels | None:
        """The pixels of an image, not to be written to; None for one that could not be read."""
        chunk, start = self.offsets[position]
        shape = self.shapes[position]
        size = int(shape.prod())
        return self.chunks[chunk][start : start + size].reshape(shape) if size else None

    @property
    def unreadable(self) -> npt.NDArray[np.int64]:
        """The positions of images that could not be read, ascending."""
        return np.flatnonzero(~self.shapes.any(axis=1))

    @property
    def is_one_shape(self) -> bool:
        """Whether all images are there and of one shape, so that rows can be stacked."""
        return len(self) > 0 and bool(np.all(self.shapes == self.shapes[0]) and self.shapes[0, 0])

    def take(self, positions: npt.NDArray[np.int64]) -> Pixels:
        """The pixels of several images of one shape, (len(positions), ...), copied."""
        result: Pixels = np.empty((len(positions), *self.shapes[0]), np.uint8)
        for row, (chunk, start) in zip(result, self.offsets[positions].tolist(), strict=True):
            row.reshape(-1)[:] = self.chunks[chunk][start : start + row.size]
        return result
