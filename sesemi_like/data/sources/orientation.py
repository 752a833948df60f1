"""The orientation of an image, as cameras store it in EXIF.

Shapes: H height, W width.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

_TAG = 0x0112
_START_OF_IMAGE, _MARKER, _APP1, _START_OF_SCAN = b"\xff\xd8", 0xFF, 0xE1, 0xDA

# CIPA DC-008 (EXIF 2.32), 4.6.4 A: where row 0 and column 0 of what is stored lie in what was seen.
_TRANSPOSITIONS: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels.swapaxes(0, 1)[:, ::-1],
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels.swapaxes(0, 1)[::-1],
}


def apply_orientation(pixels: Pixels, orientation: int) -> Pixels:
    """Rotates and mirrors an image so that it is upright.

    Args:
        pixels: uint8 (H, W, 3).
        orientation: EXIF's value, 1 to 8; others change nothing.

    Returns:
        uint8 (H, W, 3), or (W, H, 3) for 5 to 8, contiguous.
    """
    transpose = _TRANSPOSITIONS.get(orientation)
    return pixels if transpose is None else np.ascontiguousarray(transpose(pixels))


def orientation_of(image: Any) -> int:
    """The EXIF orientation of a Pillow image; 1, which is upright, where it has none.

    Args:
        image: A Pillow image.
    """
    try:
        return int(image.getexif().get(_TAG, 1))
    except Exception:  # damaged EXIF fails in many ways, and is no reason not to read an image
        return 1


def orientation_of_jpeg(content: bytes) -> int:
    """The EXIF orientation of a JPEG file; 1, which is upright, where it has none.

    Args:
        content: The file's bytes.
    """
    from PIL import Image

    try:
        if not _has_metadata(content):  # Pillow takes longer to look than small files to decode
            return 1
        with warnings.catch_warnings(), Image.open(io.BytesIO(content)) as image:
            warnings.simplefilter("ignore")  # Pillow's, which name no file
            return orientation_of(image)
    except Exception:  # as above: what can be decoded without it is
        return 1


def _has_metadata(content: bytes) -> bool:
    """Whether a JPEG file has a segment of the kind that EXIF and XMP are in."""
    place = len(_START_OF_IMAGE)
    while content[place] == _MARKER and content[place + 1] not in (_APP1, _START_OF_SCAN):
        place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
    return content[place + 1] == _APP1
