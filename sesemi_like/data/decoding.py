"""From the bytes of a picture file to pixels, no larger than needed.

Shapes: H height, W width.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

_JPEG = b"\xff\xd8\xff"
_PLAIN_COLORS = ("Gray", "YCbCr", "RGB")


def decode(content: bytes, least: int | None = None) -> Pixels:
    """Decodes a picture to RGB.

    Args:
        content: The file's bytes, of any format that Pillow reads.
        least: Shorter side in pixels that is enough: JPEG files are then decoded at the smallest
            of their scales (eighths) that has it, which saves most of the time for large ones.
            None decodes every pixel.

    Returns:
        uint8 (H, W, 3).

    Raises:
        OSError: The content is no picture, or damaged.
    """
    decoded = _decoded_jpeg(content, least or 0) if content[:3] == _JPEG else None
    return _decoded_by_pillow(content) if decoded is None else decoded


def _decoded_jpeg(content: bytes, least: int) -> Pixels | None:
    import simplejpeg

    try:
        # Pillow converts the four colours of print; all else it decodes to the same pixels.
        if simplejpeg.decode_jpeg_header(content)[2] not in _PLAIN_COLORS:
            return None
        return simplejpeg.decode_jpeg(content, "RGB", min_height=least, min_width=least)  # type: ignore[no-any-return]
    except ValueError:
        return None  # Pillow forgives more, and says more plainly what it does not forgive


def _decoded_by_pillow(content: bytes) -> Pixels:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.mode.startswith("I"):
                return _of_16_bits(np.asarray(image))
            return np.array(image.convert("RGB"))  # a copy that can be written to
    except Image.DecompressionBombError as error:
        raise OSError(str(error)) from error


def _of_16_bits(grey: npt.NDArray[Any]) -> Pixels:
    """The upper 8 bits, where Pillow would cut all brighter values off."""
    return np.repeat((grey.clip(0, 2**16 - 1) >> 8).astype(np.uint8)[:, :, None], 3, axis=2)


def shrink(pixels: Pixels, side: int) -> Pixels:
    """Resizes a picture so that its shorter side is `side`; smaller ones stay as they are.

    Args:
        pixels: uint8 (H, W, 3).
        side: Pixels.

    Returns:
        uint8 (h, w, 3), resized bilinearly and without aliasing.
    """
    import torch
    import torch.nn.functional as F

    height, width = pixels.shape[:2]
    shorter = min(height, width)
    if shorter <= side:
        return pixels
    size = round(height * side / shorter), round(width * side / shorter)
    channels_first: Any = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    resized = F.interpolate(channels_first, size, mode="bilinear", antialias=True)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())
