"""From the bytes of an image file to pixels: upright, in RGB, and no larger than needed.

Shapes: H height, W width.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from .orientation import orientation_of, orientation_of_jpeg, upright

Pixels = npt.NDArray[np.uint8]

VERSION = 2
"""Changes with the pixels that a file becomes, so that caches of other pixels are built anew."""

_JPEG = b"\xff\xd8\xff"
_PLAIN_COLORS = ("Gray", "YCbCr", "RGB")


def decode(content: bytes, least: int | None = None) -> Pixels:
    """Decodes an image to RGB, turned as its EXIF orientation says.

    Transparent images are laid over white. Of 16 bits a channel the upper 8 are kept; floats in
    [0, 1] become 0 to 255. Of an animation the first frame is taken.

    Args:
        content: The file's bytes, of any format that Pillow reads.
        least: Shorter side in pixels that is enough: JPEG files are then decoded at the smallest
            of their scales (eighths) that has it, which saves most of the time for large ones.
            None decodes every pixel.

    Returns:
        uint8 (H, W, 3).

    Raises:
        OSError: The content is no image, is damaged, or has values whose range is not known:
            integers of 32 bits, and floats beyond [0, 1].
    """
    decoded = _decoded_jpeg(content, least or 0) if content[:3] == _JPEG else None
    return _decoded_by_pillow(content) if decoded is None else decoded


def _decoded_jpeg(content: bytes, least: int) -> Pixels | None:
    import simplejpeg

    try:
        # Pillow converts the four colors of print; all else it decodes to the same pixels.
        if simplejpeg.decode_jpeg_header(content)[2] not in _PLAIN_COLORS:
            return None
        pixels = simplejpeg.decode_jpeg(content, "RGB", min_height=least, min_width=least)
    except (ValueError, MemoryError):
        return None  # Pillow forgives more, and says more plainly what it does not forgive
    return upright(pixels, orientation_of_jpeg(content))


def _decoded_by_pillow(content: bytes) -> Pixels:
    from PIL import Image, UnidentifiedImageError

    if not content:
        raise OSError("the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they name no file, and what they tell is seen to here
            image = Image.open(io.BytesIO(content))
            image.load()
            # Asked now, because Pillow turns TIFF files while it loads them.
            return upright(_rgb(image), orientation_of(image))
    except UnidentifiedImageError as error:
        raise OSError(f"no image of a known format (it begins with {content[:12]!r})") from error
    except OSError:
        raise
    except Exception as error:  # damaged files fail anywhere in Pillow's parsers, in any way
        raise OSError(str(error) or type(error).__name__) from error


def _rgb(image: Any) -> Pixels:
    """The pixels of a loaded Pillow image: uint8 (H, W, 3), free to be written to."""
    if image.mode.startswith("I") or image.mode == "F":
        gray = _of_floats(image) if image.mode == "F" else _of_integers(image)
        return np.repeat(gray[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        return _over_white(image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def _of_integers(image: Any) -> Pixels:
    """The upper 8 of 16 bits, where Pillow would cut all brighter values off."""
    if image.mode == "I" and image.format == "TIFF":
        raise OSError("its values have 32 bits, and no known range; save it with 8 or 16 bits")
    shifted: Pixels = (np.asarray(image).clip(0, 2**16 - 1) >> 8).astype(np.uint8)
    return shifted


def _of_floats(image: Any) -> Pixels:
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # also where one of them is no number
        found = f"its values are floats from {low:g} to {high:g}"
        raise OSError(f"{found}, and only [0, 1] has a known meaning; save it with 8 or 16 bits")
    return np.round(values * 255).astype(np.uint8)


def _over_white(image: Any) -> Pixels:
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
