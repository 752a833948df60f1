"""Images for TensorBoard: what each loader delivers and is taken for, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from ..evaluation import Evaluation
from ..learners.side_effects import without_side_effects
from ..schedulers.durations import steps_of_run
from .confusion import draw_confusion
from .grids import Drawn, image_grid

_OPEN_ENDED = (0, 100, 1000, 10_000, 100_000)
"""Steps at which samples are shown where the end of the run is not known."""


class TensorBoardImages(pl.Callback):
    """Writes samples of every train loader and the confusion matrix to TensorBoard.

    Under each sample stands its class, where training reads it, and what the network that is
    evaluated last takes it for, with which confidence: on weak views, a pseudo-label.

    Args:
        times: How often samples are shown, from the first step to nearly the last.
        num_samples: Images of each view.
    """

    def __init__(self, times: int = 5, num_samples: int = 16) -> None:
        self.times = times
        self.num_samples = num_samples
        self._due: set[int] = set()

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Settles at which steps samples are shown."""
        most = steps_of_run(trainer)
        last = max(1, self.times - 1)
        self._due = (
            {*_OPEN_ENDED}
            if most is None
            else {(most - 1) * number // last for number in range(self.times)}
        )

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Mapping[str, Tensor], batch_idx: int
    ) -> None:
        """Shows the batch of a step that is due."""
        if trainer.global_step not in self._due or not _writers(trainer):
            return
        self._due.discard(trainer.global_step)
        for name, value in batch.items():
            if value.ndim == 4 and value.shape[1] in (1, 3):
                rows = value[: self.num_samples]
                captions = _captions(name, rows, batch, trainer, pl_module)
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
            _add(trainer, name, draw_confusion(matrix.numpy(), _classes(trainer)))


def _writers(trainer: pl.Trainer) -> list[TensorBoardLogger]:
    """TensorBoard's loggers; every process has them, so that all go the same way."""
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def _add(trainer: pl.Trainer, name: str, image: Drawn) -> None:
    for logger in _writers(trainer):
        if trainer.is_global_zero:
            logger.experiment.add_image(name, image, trainer.global_step, dataformats="HWC")


def _captions(
    name: str, images: Tensor, batch: Mapping[str, Tensor], trainer: pl.Trainer, pl_module: Any
) -> list[list[str]]:
    """Class and prediction of each image; of what a view asks to be reported, its answer."""
    target = batch.get(f"{name.rpartition('.')[0]}.target")
    is_class = _shows_classes(name, trainer.datamodule)  # type: ignore[attr-defined]
    classes = _classes(trainer) if is_class else None
    lines: list[list[str]] = [[] for _ in images]
    if target is not None:
        for texts, number in zip(lines, target.tolist(), strict=False):
            texts.append("no label" if number < 0 else _name(number, classes))
    if is_class:
        taken_for = _predicted(images, trainer, pl_module)
        for texts, (number, share) in zip(lines, taken_for, strict=False):
            texts.append(f"> {_name(number, _classes(trainer))} {share:.2f}")
    return lines


def _shows_classes(name: str, data: Any) -> bool:
    """Whether a field's target is a class: not that of a view, nor one a collation makes up."""
    loader, _, view = name.partition(".")
    is_made_up = (
        data.loaders[f"train.{loader}"].config.get("collate_fn") and loader not in data.trained
    )
    return "." not in view and not is_made_up


def _classes(trainer: pl.Trainer) -> Sequence[str] | None:
    labels: Any = getattr(trainer.datamodule, "labels", None)  # type: ignore[attr-defined]
    classes: Sequence[str] | None = labels and labels.classes
    return classes


def _name(number: int, classes: Sequence[str] | None) -> str:
    return str(number) if classes is None or number >= len(classes) else classes[number]


def _predicted(images: Tensor, trainer: pl.Trainer, pl_module: Any) -> list[tuple[int, float]]:
    """The class each image is taken for, and its probability; nothing of what is no classifier."""
    if pl_module.evaluation_plan.fields != ["image"]:
        return []
    with (
        without_side_effects(pl_module.networks, [images]),
        trainer.precision_plugin.forward_context(),
    ):
        pl_module.networks.eval()
        answers = list(pl_module.predict_batch({"image": images}).values())[-1]
    if not isinstance(answers, Mapping) or "logits" not in answers:
        return []
    found = torch.max(answers["logits"].float().softmax(dim=1), dim=1)
    return list(zip(found.indices.tolist(), found.values.tolist(), strict=True))
