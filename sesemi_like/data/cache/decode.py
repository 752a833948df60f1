"""Decodes all images of a data set once, in several processes, into memory or for a file.

Shapes: N images.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ..progress import Progress, log_task
from .pixels import PixelCache, Pixels

Decode = Callable[[int], Pixels | None]
"""Maps a position to pixels of any shape up to three axes; None where it cannot be read."""

_AXES, _BATCH = 3, 64

CHUNK_BYTES = 2**28
"""Bytes of each array that images are decoded into."""


def decode_into_memory(
    decode: Decode, count: int, workers: int = 0, progress: Progress = log_task
) -> PixelCache:
    """Decodes all images into memory, which forked worker processes share.

    Args:
        decode: Reads an image.
        count: N.
        workers: Processes that decode; 0 decodes in this one.
        progress: Shows how many images have been decoded.

    Raises:
        RuntimeError: A process that decodes has ended.
    """
    offsets, shapes, begin = [], [], 0
    chunks: list[Pixels] = []
    pending: list[Pixels] = []
    for pixels, batch_shapes, _ in decode_batches(decode, count, workers, progress):
        sizes = batch_shapes.prod(axis=1)
        starts = begin + np.cumsum(sizes) - sizes
        offsets.append(np.stack([np.full_like(starts, len(chunks)), starts], axis=1))
        shapes.append(batch_shapes)
        pending.append(pixels)
        begin += len(pixels)
        if begin >= CHUNK_BYTES:
            chunks.append(np.concatenate(pending))
            pending, begin = [], 0
    chunks.append(np.concatenate(pending) if pending else np.empty(0, np.uint8))
    return PixelCache(chunks, np.concatenate(offsets), np.concatenate(shapes))


class _Batches(Dataset[Any]):
    """Decodes whole batches of positions, in whatever process."""

    def __init__(self, decode: Decode, count: int) -> None:
        self.decode, self.count = decode, count

    def __len__(self) -> int:
        return -(-self.count // _BATCH)

    def __getitem__(self, batch: int) -> tuple[Pixels, Any, Any]:
        positions = range(batch * _BATCH, min((batch + 1) * _BATCH, self.count))
        images = [self.decode(position) for position in positions]
        shapes = np.zeros((len(images), _AXES), np.int64)
        for row, image in zip(shapes, images, strict=True):
            if image is not None:
                row[:] = (*image.shape, 1, 1)[:_AXES]
        sums = np.array([checksum(image) for image in images], np.int64)
        parts = [image.reshape(-1) for image in images if image is not None]
        pixels: Pixels = np.concatenate([*parts, np.empty(0, np.uint8)])
        return pixels, shapes, sums


def _pass_through(batch: Any) -> Any:
    # Arrays come through a pipe. Tensors would come through shared memory, and a worker that finds
    # it full says nothing and leaves its batch out: whoever waits for it waits for ever.
    return batch


def decode_batches(
    decode: Decode, count: int, workers: int, progress: Progress
) -> Iterator[tuple[Pixels, Any, Any]]:
    """Decodes all images in order, batch by batch, and reports how many there are.

    Raises:
        RuntimeError: A process that decodes has ended.
    """
    batches = DataLoader(
        _Batches(decode, count),
        batch_size=None,
        num_workers=workers,
        collate_fn=_pass_through,
        generator=torch.Generator(),  # so that a run draws alike whether it builds or finds a cache
    )
    with progress(f"decoding {count:,} images once", count) as advance:
        for pixels, shapes, sums in batches:
            yield pixels, shapes, sums
            advance(len(sums))


def checksum(pixels: Pixels | None) -> int:
    """The CRC-32 of pixels; 0 where there are none."""
    return 0 if pixels is None else zlib.crc32(np.ascontiguousarray(pixels).data)
