"""Predicts the data of `data.predict` into a file of the run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...config.instantiate import plain
from ...data.loading.keys import PREDICT
from ...data.progress import log_task
from ...learners.predicted import Columns, choose_columns, outputs_read
from ...report.tasks import show_progress
from .formats import FORMATS
from .writer import Choose, PredictionWriter

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from ...learners import Learner
    from ..prepared import Prepared

NAME = "predictions"
"""The name of the file, before its ending."""


def chooser(learner: Learner, chosen: list[str] | None) -> Choose:
    """What makes the columns of a batch of its outputs.

    Args:
        learner: What predicts.
        chosen: `run.predict.outputs`; None takes what the learner names.
    """

    def choose(outputs: Any) -> Columns:
        columns = learner.predicted_columns(outputs)
        return columns if chosen is None else choose_columns(columns, outputs, chosen)

    return choose


def write_predictions(prepared: Prepared, trainer: pl.Trainer, weights: str | None = None) -> Path:
    """Predicts, in bounded memory, and goes on where an equal run of the same id was stopped.

    Args:
        prepared: The run, with data to predict.
        trainer: Its Trainer.
        weights: A checkpoint whose weights predict; None takes those that the learner has.

    Returns:
        The file; the first process alone writes it.
    """
    learner, data, run = prepared.learner, prepared.data, prepared.config.run
    settings: dict[str, Any] = plain(run.predict)
    form, loader = FORMATS[settings["format"]], data.loaders[PREDICT]
    target = Path(trainer.default_root_dir) / f"{NAME}{form.suffix}"
    computing = {"precision": str(trainer.precision), "device": prepared.devices.accelerator}
    learner.predicted = outputs_read(
        learner.evaluated.names(loader.sample_batch), settings["outputs"]
    )
    show = show_progress if trainer.is_global_zero else log_task
    with show("predicting", loader.dataset.num_samples or 0) as advance:
        writer = PredictionWriter(
            learner,
            loader,
            chooser(learner, settings["outputs"]),
            settings={**settings, **computing},
            form=form,
            target=target,
            home=Path(run.dir) / run.id,
            advance=advance,
        )
        _predict(prepared, trainer, writer, weights)
    return target


def _predict(
    prepared: Prepared, trainer: pl.Trainer, writer: PredictionWriter, weights: str | None
) -> None:
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    callbacks.append(writer)
    prepared.data.predicted_batches = writer.batches
    try:
        trainer.predict(
            prepared.learner,
            datamodule=prepared.data,
            return_predictions=False,
            ckpt_path=weights,
            weights_only=True,
        )
    finally:
        callbacks.remove(writer)
        prepared.data.predicted_batches = None
