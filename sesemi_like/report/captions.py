"""Captions of sample images: their class, and the class that the evaluated network predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from ..data.loading.collating import makes_fields
from ..learners.side_effects import without_side_effects


def build_captions(
    name: str, images: Tensor, batch: Mapping[str, Any], trainer: pl.Trainer, pl_module: Any
) -> list[list[str]]:
    """Builds the lines under each image of a field.

    Args:
        name: The field by its full name (``"unlabeled.weak"``).
        images: Its first rows (N, C, H, W).
        batch: Every field of the step.
        trainer: The trainer, whose data module knows the classes.
        pl_module: The learner.

    Returns:
        For each image its target, where the batch has one, and ``> class probability``, where the
        target is a class and the learner is a classifier.
    """
    target = _target_of(name, batch)
    is_class = _is_of_class(name, trainer.datamodule)  # type: ignore[attr-defined]
    classes = class_names(trainer)
    lines: list[list[str]] = [[] for _ in images]
    if target is not None:
        for texts, number in zip(lines, target.tolist(), strict=False):
            known = classes if is_class else None
            texts.append("no label" if number < 0 else _class_name(number, known))
    if is_class:
        predictions = _predict(images, pl_module)
        for texts, (number, probability) in zip(lines, predictions, strict=False):
            texts.append(f"> {_class_name(number, classes)} {probability:.2f}")
    return lines


def _target_of(name: str, batch: Mapping[str, Any]) -> Tensor | None:
    """A number for each image, int64; None where a number each is not what targets are."""
    of_field = f"{name.rpartition('.')[0]}.target"
    target, rows = batch.get(of_field), batch.get(f"{name}.row")
    if not isinstance(target, Tensor) or target.ndim != 1 or target.is_floating_point():
        return None
    if f"{of_field}.row" in batch:
        return None
    return target if rows is None else target[rows]


def class_names(trainer: pl.Trainer) -> Sequence[str] | None:
    """The names of the classes by index, or None where the data have none."""
    labels: Any = getattr(trainer.datamodule, "labels", None)  # type: ignore[attr-defined]
    classes: Sequence[str] | None = labels and labels.classes
    return classes


def _is_of_class(name: str, data: Any) -> bool:
    """Whether a field's target is a class: not that of a view, nor one that a collation makes."""
    loader, _, view = name.partition(".")
    collation = data.loaders[f"train.{loader}"].config.get("collate_fn")
    is_made_up = collation and not makes_fields(collation) and loader not in data.trained
    return "." not in view and not is_made_up


def _class_name(number: int, classes: Sequence[str] | None) -> str:
    return str(number) if classes is None or number >= len(classes) else classes[number]


def _predict(images: Tensor, pl_module: Any) -> list[tuple[int, float]]:
    """The most probable class of each image and its probability; empty without logits."""
    if pl_module.evaluated.fields != {"image"}:
        return []
    with without_side_effects(pl_module.networks, [images]):
        pl_module.networks.eval()
        predicted = pl_module.through_strategy(pl_module.predict_batch, {"image": images})
    output = list(predicted.values())[-1]
    if not isinstance(output, Mapping) or "logits" not in output:
        return []
    best = torch.max(output["logits"].float().softmax(dim=1), dim=1)
    return list(zip(best.indices.tolist(), best.values.tolist(), strict=True))
