"""The confusion matrix as an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from .grids import FONT, Drawn, shorten

_MAX_CLASSES_WITH_TEXT = 25
"""Classes up to which the matrix has numbers and names in it."""

_CELL, _NAMES, _TOTALS = 44, 110, 60


def draw_confusion(matrix: npt.NDArray[np.int64], classes: Sequence[str] | None = None) -> Drawn:
    """Draws a confusion matrix: rows true, columns predicted, darker for a larger share of a row.

    Beside it are the totals of rows (images of a class) and of columns (predictions of it), and in
    their corner the number of all images and the share that is right.

    Args:
        matrix: Counts (C, C).
        classes: The names of the classes; None numbers them. With more than 25 classes there are
            neither names nor numbers.

    Returns:
        An image (H, W, 3), uint8.
    """
    size = len(matrix)
    has_text = size <= _MAX_CLASSES_WITH_TEXT
    cell, begin = (_CELL, _NAMES) if has_text else (max(4, 800 // size), 10)
    side = begin + size * cell + (_TOTALS if has_text else 10)
    image = Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(image)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    for row, column in np.ndindex(size, size):
        left, top = begin + column * cell, begin + row * cell
        share = float(shares[row, column])
        pen.rectangle((left, top, left + cell - 1, top + cell - 1), fill=_shade(share))
        if has_text and matrix[row, column]:
            center = (left + cell / 2, top + cell / 2)
            _write(pen, center, matrix[row, column], "white" if share > 0.5 else "black")
    if has_text:
        _write_names(image, pen, classes or [str(i) for i in range(size)])
        _write_totals(pen, matrix)
    return np.asarray(image)


def _shade(share: float) -> tuple[int, int, int]:
    """White for none of a row to dark blue for all of it."""
    return int(247 - 239 * share), int(251 - 203 * share), int(255 - 148 * share)


def _write(pen: ImageDraw.ImageDraw, center: tuple[float, float], text: object, fill: str) -> None:
    shown = f"{text:,}" if isinstance(text, int | np.integer) else str(text)
    pen.text(center, shown, fill, FONT, anchor="mm")


def _write_names(image: Image.Image, pen: ImageDraw.ImageDraw, classes: Sequence[str]) -> None:
    """Rows are named on the left, columns above them, turned upwards, so that all have room."""
    for number, name in enumerate(classes):
        middle = _NAMES + number * _CELL + _CELL / 2
        text = shorten(name, _NAMES - 30)
        pen.text((_NAMES - 6, middle), text, "black", FONT, anchor="rm")
        turned = Image.new("RGB", (_NAMES - 30, 16), "white")
        ImageDraw.Draw(turned).text((0, 8), text, "black", FONT, anchor="lm")
        image.paste(turned.rotate(90, expand=True), (int(middle - 8), 24))
    pen.text((6, _NAMES - 12), "true", "gray", FONT, anchor="lm")
    pen.text((_NAMES, 10), "predicted", "gray", FONT, anchor="lm")


def _write_totals(pen: ImageDraw.ImageDraw, matrix: npt.NDArray[np.int64]) -> None:
    end = _NAMES + len(matrix) * _CELL
    outside = end + _TOTALS / 2
    for number in range(len(matrix)):
        middle = _NAMES + number * _CELL + _CELL / 2
        _write(pen, (outside, middle), matrix[number].sum(), "gray")
        _write(pen, (middle, end + 14), matrix[:, number].sum(), "gray")
    count = int(matrix.sum())
    _write(pen, (outside, end + 14), count, "black")
    _write(pen, (outside, end + 34), f"{np.trace(matrix) / max(count, 1):.3f}", "black")
    pen.text((_NAMES - 6, end + 14), "total", "gray", FONT, anchor="rm")
    pen.text((outside, _NAMES - 12), "total", "gray", FONT, anchor="mm")
