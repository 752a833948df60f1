"""What is kept of each image of a data set: the transform's result, or the decoded image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ...trees import tree_leaves
from ..samples import UNREADABLE, Sample
from ..sources import decoding
from ..sources.decoding import Pixels, shrink
from ..sources.image_reader import ImageReader, is_deterministic
from .file import CacheKey, cache_key

_PROBES, _SMALL_SIDE, _SMALLEST_KEPT_SIDE = 8, 256, 64


@dataclass(frozen=True)
class Storage:
    """What is kept of each image of a data set.

    Attributes:
        reader: The data set's reader.
        is_transformed: Whether the transform's result is kept, else the decoded image.
        side: The shorter side that larger images are kept at; None keeps them as they are.
    """

    reader: ImageReader
    is_transformed: bool
    side: int | None = None

    def pixels(self, position: int) -> Pixels | None:
        """What is kept of an image: uint8 (H, W, C); None where it cannot be read."""
        try:
            if self.is_transformed:
                image: torch.Tensor = self.reader(position)["image"]
                return np.ascontiguousarray(image.permute(1, 2, 0).numpy())
            least = None if self.side is None else 2 * self.side
            pixels = np.asarray(self.reader.load(position, least))
        except UNREADABLE:
            return None
        return pixels if self.side is None else shrink(pixels, self.side)

    def key(self, positions: npt.NDArray[np.int64]) -> CacheKey:
        """What the pixels depend on: the files, and how they are decoded."""
        settings = f"{self.reader.image_transform}" if self.is_transformed else f"side {self.side}"
        files = (self.reader.load.fingerprint(int(p)) for p in positions)  # type: ignore[attr-defined]
        decoder = f"{decoding.jpeg_decoder()} {decoding.VERSION}"
        return cache_key([settings, decoder], files)


def choose_storage(
    reader: ImageReader, positions: npt.NDArray[np.int64], side: int | None, *, is_lossless: bool
) -> tuple[Storage, float] | None:
    """Decides what is kept, after reading a few images.

    Args:
        reader: The data set's reader.
        positions: The images.
        side: The shorter side to keep larger images at; None derives it from the transform.
        is_lossless: Whether images must be kept as they are.

    Returns:
        What is kept, and the mean bytes of an image; None where images would have to be kept
        smaller than they are, or none can be read.
    """
    probes = _probes(positions)
    samples = [sample for p in probes if (sample := _read(reader, p)) is not None]
    if not samples:
        return None
    if is_deterministic(reader.image_transform) and all(_is_uint8(sample) for sample in samples):
        size = float(np.mean([sample["image"].numel() for sample in samples]))
        return Storage(reader, is_transformed=True), size
    side = None if is_lossless else side or _kept_side(samples)
    storage = Storage(reader, is_transformed=False, side=side)
    images = [pixels for p in probes if (pixels := storage.pixels(p)) is not None]
    if is_lossless and any(min(pixels.shape[:2]) > _SMALL_SIDE for pixels in images):
        return None
    return storage, float(np.mean([pixels.size for pixels in images] or [0]))


def _probes(positions: npt.NDArray[np.int64]) -> list[int]:
    rows = np.linspace(0, len(positions) - 1, min(len(positions), _PROBES)).astype(int)
    return [int(positions[i]) for i in np.unique(rows)]


def _read(reader: ImageReader, position: int) -> Sample | None:
    try:
        return reader(position)
    except UNREADABLE:
        return None


def _is_uint8(sample: Sample) -> bool:
    image = sample.get("image")
    return (
        set(sample) == {"image"} and isinstance(image, torch.Tensor) and image.dtype == torch.uint8
    )


def _kept_side(samples: list[Sample]) -> int:
    leaves = tree_leaves(samples)
    images = [v for v in leaves if isinstance(v, torch.Tensor) and v.ndim >= 2]
    delivered = max((max(image.shape[-2:]) for image in images), default=_SMALL_SIDE)
    return max(_SMALLEST_KEPT_SIDE, math.ceil(delivered * 8 / 7))
