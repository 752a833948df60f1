"""Images for TensorBoard: samples of each loader with predictions, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from ..evaluation import Evaluation
from ..schedulers.durations import steps_of_run
from .captions import build_captions, class_names
from .confusion import draw_confusion
from .grids import Drawn, image_grid

_OPEN_ENDED = (0, 100, 1000, 10_000, 100_000)
"""Steps at which samples are shown where the end of the run is not known."""


class TensorBoardImages(pl.Callback):
    """Writes samples of every train loader and the confusion matrix to TensorBoard.

    Under each sample is its class, where training reads it, and the class that the network that is
    evaluated last predicts, with its probability: on weak views, a pseudo-label.

    Args:
        times: How often samples are shown, from the first step to nearly the last.
        num_samples: Images of each view.
    """

    def __init__(self, times: int = 5, num_samples: int = 16) -> None:
        self.times = times
        self.num_samples = num_samples
        self._due: set[int] = set()

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Chooses the steps at which samples are shown."""
        max_steps = steps_of_run(trainer)
        last = max(1, self.times - 1)
        self._due = (
            {*_OPEN_ENDED}
            if max_steps is None
            else {(max_steps - 1) * number // last for number in range(self.times)}
        )

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Mapping[str, Any], batch_idx: int
    ) -> None:
        """Shows the batch of a step that is due."""
        if trainer.global_step not in self._due or not _writers(trainer):
            return
        self._due.discard(trainer.global_step)
        for name, value in batch.items():
            if _are_images(value):
                rows = value[: self.num_samples]
                captions = build_captions(name, rows, batch, trainer, pl_module)
                _add(trainer, f"samples/{name}", image_grid(rows, captions))

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
            _add(trainer, name, draw_confusion(matrix.numpy(), class_names(trainer)))


def _are_images(value: Any) -> bool:
    """Whether a field, or a part of one, can be shown: (N, C, H, W), gray or colored."""
    is_batch = isinstance(value, Tensor) and value.ndim == 4 and len(value) > 0
    return is_batch and value.shape[1] in (1, 3)


def _writers(trainer: pl.Trainer) -> list[TensorBoardLogger]:
    """TensorBoard's loggers; every process has them, so that all decide alike."""
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def _add(trainer: pl.Trainer, name: str, image: Drawn) -> None:
    for logger in _writers(trainer):
        if trainer.is_global_zero:
            logger.experiment.add_image(name, image, trainer.global_step, dataformats="HWC")
