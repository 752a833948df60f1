"""The summary of a run: its metrics, and of which weights and how many images each of them is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from ..config.command_line import choices
from ..config.headline import Headline
from ..config.tags import tags_of
from ..config.weights import WeightsSource
from ..data.counts import gather_skipped
from ..data.features.field import frozen_fields
from ..evaluation import wilson_interval
from ..learners.checkpoints.saving import LastCheckpoint
from ..learners.nonfinite import skipped_steps
from ..models.weights import read_metadata
from ..report import print_summary, write_summary
from ..trainer.checkpoints import BestCheckpoint, best_checkpoint
from .predictions.predict import NAME as PREDICTIONS
from .prepared import Prepared
from .status import run_status


def scalar_metrics(metrics: Mapping[str, Tensor | float]) -> dict[str, float]:
    """The metrics that are single numbers."""
    return {n: float(v) for n, v in metrics.items() if torch.as_tensor(v).ndim == 0}


def summarize(
    prepared: Prepared,
    trainer: pl.Trainer,
    folder: Path,
    *,
    training: Mapping[str, float],
    seconds: float,
) -> dict[str, Any]:
    """Summarizes a run in plain values.

    Args:
        prepared: The run.
        trainer: The Trainer that ran it.
        folder: The run's folder.
        training: The metrics of the last training step that was logged.
        seconds: How long it took, start-up included.
    """
    evaluated = {**trainer.callback_metrics, **prepared.evaluation.last}
    metrics = {
        n: v for n, v in scalar_metrics(evaluated).items() if n.startswith(("val/", "test/"))
    }
    best = best_checkpoint(trainer)
    chosen = choices()
    return {
        **run_status(trainer, prepared.mode),
        "mode": prepared.mode.name,
        "id": prepared.config.run.id,
        "tags": tags_of(prepared.config.run),
        "config": chosen.config,
        "method": chosen.groups.get("method"),
        "groups": chosen.groups,
        "overrides": chosen.overrides,
        "seed": prepared.seed,
        "steps": trainer.global_step,
        "epochs": trainer.current_epoch,
        "seconds": round(seconds, 2),
        "headline": _headline({**training, **metrics}, prepared.headline, best),
        "judged_by": prepared.headline.plain(),
        "best": asdict(best) if best else None,
        "metrics": metrics,
        "measured": describe_metrics(prepared, trainer, metrics),
        "labels": prepared.data.labels.counts(),
        "skipped": gather_skipped(prepared.data.datasets),
        "skipped_steps": skipped_steps(trainer),
        "devices": f"{prepared.devices.world_size} x {prepared.devices.accelerator}",
        "precision": trainer.precision,
        "forward": prepared.learner.forward_in_use,
        "rows_left_out": prepared.learner.rows_in_use,
        "frozen_features": [field.opened for field in frozen_fields(prepared.data.loaders)],
        "predictions": next((str(path) for path in folder.glob(f"{PREDICTIONS}*")), None),
        "folder": str(folder),
        "training": dict(training),
    }


def _headline(
    metrics: Mapping[str, float], headline: Headline, best: BestCheckpoint | None
) -> float | None:
    """The value of the best checkpoint that was chosen by it, else the last, else the test's."""
    if best and best.monitor == headline.name:
        return best.score
    return metrics.get(headline.name, metrics.get(headline.on("test")))


def describe_metrics(
    prepared: Prepared, trainer: pl.Trainer, metrics: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    """Describes which weights and images each metric was measured on.

    Args:
        prepared: The run.
        trainer: The Trainer that ran it.
        metrics: The values of evaluators, by full name.

    Returns:
        By metric: `network` (``model``, ``ema``); `checkpoint`: ``best``, ``last``, ``given`` by
        the config, or None where no file holds these weights; its `path`; the `step` it was taken
        at, None where that is not known; the number of `images`; and for accuracies `interval`,
        in which the true value is with a confidence of 95 %.
    """
    described: dict[str, dict[str, Any]] = {}
    weights: dict[tuple[str, int], dict[str, Any]] = {}
    for name, origin in prepared.evaluation.origins.items():
        if name not in metrics:
            continue
        key = (name.partition("/")[0], origin.step)
        if key not in weights:
            weights[key] = _evaluated_weights(*key, prepared, trainer)
        described[name] = {"network": origin.network, **weights[key], "images": origin.images}
        if re.search(r"top\d+$", name) and origin.images:
            described[name]["interval"] = list(wilson_interval(metrics[name], origin.images))
    return described


def report_run(content: Mapping[str, Any], prepared: Prepared, folder: Path) -> None:
    """Writes the summary of a run and prints it.

    Args:
        content: What :func:`summarize` returned.
        prepared: The run.
        folder: The run's folder.
    """
    write_summary(folder / "summary.json", content)
    matrices = [prepared.evaluation.last.get(f"{split}/confusion") for split in ("test", "val")]
    confusion = next((matrix.numpy() for matrix in matrices if isinstance(matrix, Tensor)), None)
    print_summary(content, confusion, prepared.data.labels.classes)


def _evaluated_weights(
    split: str, step: int, prepared: Prepared, trainer: pl.Trainer
) -> dict[str, str | int | None]:
    """The checkpoint that holds the weights that were evaluated, its path and its step."""
    run = prepared.config.run
    if not prepared.mode.trains:
        given = run.resume_from_checkpoint or run.pretrained_checkpoint_path
        path = str(WeightsSource.parse(given).file) if given else None
        return {"checkpoint": "given" if path else None, "path": path, "step": None}
    best = best_checkpoint(trainer)
    if split == "test" and best:
        return {"checkpoint": "best", "path": best.path, "step": _step_of(best.path)}
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, LastCheckpoint) and callback.saved_step == step:
            return {"checkpoint": "last", "path": str(callback.path), "step": step}
    return {"checkpoint": None, "path": None, "step": step}


def _step_of(path: str) -> int | None:
    return read_metadata(path).get("global_step")
