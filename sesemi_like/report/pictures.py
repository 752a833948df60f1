"""Pictures for TensorBoard: what each loader delivers, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from PIL import Image, ImageDraw
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from ..evaluation import Evaluation

_MOST_NUMBERS = 25
"""Classes up to which the matrix has numbers and names in it."""


class TensorBoardPictures(pl.Callback):
    """Writes sample views of every train loader and the confusion matrix to TensorBoard.

    Args:
        every_n_epochs: Epochs from one set of sample views to the next; None shows the first only.
        num_samples: Pictures of each view.
    """

    def __init__(self, every_n_epochs: int | None = None, num_samples: int = 16) -> None:
        self.every_n_epochs = every_n_epochs
        self.num_samples = num_samples

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Mapping[str, Tensor], batch_idx: int
    ) -> None:
        """Writes the views of the first batch of an epoch that is due."""
        is_first = trainer.global_step == 0
        is_due = self.every_n_epochs and trainer.current_epoch % self.every_n_epochs == 0
        if batch_idx or not (is_first or is_due):
            return
        for name, value in batch.items():
            if value.ndim == 4 and value.shape[1] in (1, 3):
                grid = picture_grid(value[: self.num_samples])
                self._add(trainer, f"samples/{name}", grid)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Draws the confusion matrix of the validation."""
        self._draw(trainer, "val/confusion")

    def on_test_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Draws the confusion matrix of the test."""
        self._draw(trainer, "test/confusion")

    def _draw(self, trainer: pl.Trainer, name: str) -> None:
        evaluations = [c for c in trainer.callbacks if isinstance(c, Evaluation)]  # type: ignore[attr-defined]
        matrix = evaluations[0].last.get(name) if evaluations else None
        if isinstance(matrix, Tensor) and not trainer.sanity_checking:
            classes = trainer.datamodule.classes  # type: ignore[attr-defined]
            self._add(trainer, name, draw_confusion(matrix.numpy(), classes))

    def _add(self, trainer: pl.Trainer, name: str, picture: npt.NDArray[np.uint8]) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
                logger.experiment.add_image(name, picture, trainer.global_step, dataformats="HWC")


def picture_grid(images: Tensor, columns: int = 8, min_side: int = 64) -> npt.NDArray[np.uint8]:
    """Puts images into a grid, brought to one range from black to white.

    Args:
        images: Images (N, C, H, W) with 1 or 3 channels, normalised or not.
        columns: Images side by side.
        min_side: Smaller images are enlarged by a whole factor, to at least half of this.

    Returns:
        A picture (rows * (H + 2), columns * (W + 2), 3), uint8, with H and W as enlarged.
    """
    factor = max(1, min_side // max(images.shape[-2:]))
    images = images.repeat_interleave(factor, dim=-2).repeat_interleave(factor, dim=-1)
    images = images.detach().float().cpu()
    low, high = images.amin(), images.amax()
    images = (images - low) / (high - low).clamp_min(1e-6) * 255
    images = torch.nn.functional.pad(images.expand(-1, 3, -1, -1), (1, 1, 1, 1))
    missing = torch.zeros(-len(images) % min(columns, len(images)), *images.shape[1:])
    cells = torch.cat([images, missing])
    width = min(columns, len(images))
    rows = [torch.cat(list(row), dim=2) for row in cells.split(width)]
    return torch.cat(rows, dim=1).permute(1, 2, 0).numpy().astype(np.uint8)


def draw_confusion(
    matrix: npt.NDArray[np.int64], classes: Sequence[str] | None = None
) -> npt.NDArray[np.uint8]:
    """Draws a confusion matrix: rows true, columns predicted, dark where many of a row fall.

    Args:
        matrix: Counts (C, C).
        classes: The names of the classes; None numbers them. With more than 25 classes there are
            neither names nor numbers.

    Returns:
        A picture (H, W, 3), uint8.
    """
    size = len(matrix)
    has_text = size <= _MOST_NUMBERS
    cell, margin = (44, 110) if has_text else (max(4, 800 // size), 10)
    side = margin + size * cell + 10
    picture = Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(picture)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    for row, column in np.ndindex(size, size):
        left, top = margin + column * cell, margin + row * cell
        share = float(shares[row, column])
        pen.rectangle((left, top, left + cell - 1, top + cell - 1), fill=_shade(share))
        if has_text and matrix[row, column]:
            color = "white" if share > 0.5 else "black"
            centre = (left + cell / 2, top + cell / 2)
            pen.text(centre, str(int(matrix[row, column])), fill=color, anchor="mm")
    if has_text:
        _name_classes(pen, classes or [str(i) for i in range(size)], cell, margin)
    return np.asarray(picture)


def _shade(share: float) -> tuple[int, int, int]:
    """White for none of a row to dark blue for all of it."""
    return int(247 - 239 * share), int(251 - 203 * share), int(255 - 148 * share)


def _name_classes(pen: ImageDraw.ImageDraw, classes: Sequence[str], cell: int, margin: int) -> None:
    for number, name in enumerate(classes):
        middle = margin + number * cell + cell / 2
        pen.text((margin - 6, middle), name[:16], fill="black", anchor="rm")
        height = margin - (8 if number % 2 else 24)  # neighbours do not run into each other
        pen.text((middle, height), name[:12], fill="black", anchor="mm")
    pen.text((6, margin - 60), "true (rows)", fill="gray", anchor="lm")
    pen.text((margin, margin - 60), "predicted (columns)", fill="gray", anchor="lm")
