"""Grids of sample images with a caption under each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Drawn = npt.NDArray[np.uint8]

FONT = ImageFont.load_default(12)
LINE = 15
"""Height of a line of text in pixels."""


def image_grid(
    images: Tensor,
    captions: Sequence[Sequence[str]] = (),
    columns: int = 8,
    min_side: int = 128,
) -> Drawn:
    """Puts images into a grid, brought to one range from black to white.

    Args:
        images: Images (N, C, H, W) with 1 or 3 channels, normalized or not.
        captions: Lines of text for each image, as many for all; none leaves no room for any.
        columns: Images side by side.
        min_side: Smaller images are enlarged by the whole factor that first makes their larger side
            at least this long, pixel by pixel.

    Returns:
        An image (rows * (H + lines * 15 + 2), columns * (W + 2), 3), uint8, with H and W as
        enlarged.
    """
    factor = max(1, -(-min_side // max(images.shape[-2:])))
    images = images.repeat_interleave(factor, dim=-2).repeat_interleave(factor, dim=-1)
    images = images.detach().float().cpu()
    low, high = images.amin(), images.amax()
    images = (images - low) / (high - low).clamp_min(1e-6) * 255
    lines = max(map(len, captions), default=0)
    images = torch.nn.functional.pad(images.expand(-1, 3, -1, -1), (1, 1, 1, 1 + lines * LINE))
    width = min(columns, len(images))
    missing = torch.zeros(-len(images) % width, *images.shape[1:])
    rows = [torch.cat(list(row), dim=2) for row in torch.cat([images, missing]).split(width)]
    grid = torch.cat(rows, dim=1).permute(1, 2, 0).numpy().astype(np.uint8)
    return _write_captions(grid, captions, images.shape[-2:], width, lines) if lines else grid


def _write_captions(
    grid: Drawn, captions: Sequence[Sequence[str]], cell: Sequence[int], columns: int, lines: int
) -> Drawn:
    image = Image.fromarray(grid)
    pen = ImageDraw.Draw(image)
    height, width = cell
    for number, texts in enumerate(captions):
        row, column = divmod(number, columns)
        for line, text in enumerate(texts):
            top = (row + 1) * height - 1 - (lines - line) * LINE
            pen.text((column * width + 3, top), shorten(text, width - 4), "white", FONT)
    return np.asarray(image)


def shorten(text: str, width: float) -> str:
    """The text, or as much of its beginning as has room, ending in an ellipsis."""
    if FONT.getlength(text) <= width:
        return text
    while text and FONT.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"
