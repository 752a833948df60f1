"""From the bytes of an image file to pixels: upright, in RGB, and no larger than needed.

Shapes: H height, W width.
"""

from __future__ import annotations

import io
import warnings
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from .orientation import apply_orientation, orientation_of, orientation_of_jpeg

Pixels = npt.NDArray[np.uint8]

VERSION = 3
"""Changes with the decoded pixels, so that caches of earlier ones are not used."""

_JPEG = b"\xff\xd8\xff"
_PLAIN_COLORS = ("Gray", "YCbCr", "RGB")


def decode(content: bytes, least: int | None = None) -> Pixels:
    """Decodes an image to RGB, rotated as its EXIF orientation says.

    Transparent images are composited on white. Of 16 bits a channel the upper 8 are kept; floats in
    [0, 1] become 0 to 255. Of an animation the first frame is taken.

    Args:
        content: The file's bytes, of any format that Pillow reads.
        least: Shorter side in pixels that is enough: JPEG files are then decoded at the smallest
            scale that has it, of eighths with simplejpeg and of 1/2, 1/4 and 1/8 without, which
            saves most of the time for large ones. None decodes every pixel, to the same values
            with either library.

    Returns:
        uint8 (H, W, 3).

    Raises:
        OSError: The content is no image, is damaged, or has values whose range is not known:
            integers of 32 bits, and floats beyond [0, 1].
    """
    pixels = None
    if content[:3] == _JPEG and jpeg_decoder() == "simplejpeg":
        pixels = decode_with_simplejpeg(content, least)
    return decode_with_pillow(content, least) if pixels is None else pixels


@cache
def jpeg_decoder() -> str:
    """The library that decodes JPEG files: simplejpeg if it is installed, else Pillow."""
    return "Pillow" if find_spec("simplejpeg") is None else "simplejpeg"


def decode_with_simplejpeg(content: bytes, least: int | None = None) -> Pixels | None:
    """Decodes a JPEG file; None where it is left to Pillow: four color channels, damage.

    Args:
        content: The file's bytes.
        least: As for :func:`decode`.
    """
    import simplejpeg

    side = least or 0
    try:
        # Pillow converts the four colors of print; all else it decodes to the same pixels.
        if simplejpeg.decode_jpeg_header(content)[2] not in _PLAIN_COLORS:
            return None
        pixels = simplejpeg.decode_jpeg(content, "RGB", min_height=side, min_width=side)
    except (ValueError, MemoryError):
        return None  # Pillow forgives more, and says more plainly what it does not forgive
    return apply_orientation(pixels, orientation_of_jpeg(content))


def decode_with_pillow(content: bytes, least: int | None = None) -> Pixels:
    """Decodes an image of any format that Pillow reads.

    Args:
        content: The file's bytes.
        least: As for :func:`decode`.

    Raises:
        OSError: As :func:`decode`.
    """
    from PIL import Image, UnidentifiedImageError

    if not content:
        raise OSError("the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they name no file, and damage raises in any case
            image = Image.open(io.BytesIO(content))
            if least is not None:
                image.draft(None, (least, least))  # scales JPEG files, and does nothing to others
            image.load()
            # Read now, because Pillow rotates TIFF files while it loads them.
            return apply_orientation(_rgb(image), orientation_of(image))
    except UnidentifiedImageError as error:
        raise OSError(f"no image of a known format (it begins with {content[:12]!r})") from error
    except OSError:
        raise
    except Exception as error:  # damaged files fail anywhere in Pillow's parsers, in any way
        raise OSError(str(error) or type(error).__name__) from error


def _rgb(image: Any) -> Pixels:
    """The pixels of a loaded Pillow image: uint8 (H, W, 3), free to be written to."""
    if image.mode.startswith("I") or image.mode == "F":
        gray = _scale_floats(image) if image.mode == "F" else _shift_integers(image)
        return np.repeat(gray[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        return _composite_on_white(image.convert("RGBA"))
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _shift_integers(image: Any) -> Pixels:
    """The upper 8 of 16 bits, where Pillow would cut all brighter values off."""
    if image.mode == "I" and image.format == "TIFF":
        raise OSError("its values have 32 bits, and no known range; save it with 8 or 16 bits")
    shifted: Pixels = (np.asarray(image).clip(0, 2**16 - 1) >> 8).astype(np.uint8)
    return shifted


def _scale_floats(image: Any) -> Pixels:
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # also where one of them is no number
        found = f"its values are floats from {low:g} to {high:g}"
        raise OSError(f"{found}, and only [0, 1] has a known meaning; save it with 8 or 16 bits")
    return np.round(values * 255).astype(np.uint8)


def _composite_on_white(image: Any) -> Pixels:
    from PIL import Image

    white = Image.new("RGBA", image.size, "white")
    return np.array(Image.alpha_composite(white, image).convert("RGB"))


def shrink(pixels: Pixels, side: int) -> Pixels:
    """Resizes an image so that its shorter side is `side`; smaller ones stay as they are.

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
