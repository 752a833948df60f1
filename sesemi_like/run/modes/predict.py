"""PREDICT: writes what given weights predict for data without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...config.mode import Mode

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from ..prepared import Prepared


def predict(prepared: Prepared, trainer: pl.Trainer) -> dict[str, float]:
    """Predicts with the weights that the learner has.

    Args:
        prepared: The run.
        trainer: Its Trainer.
    """
    from ..predictions.predict import write_predictions

    write_predictions(prepared, trainer)
    return {}


PREDICT = Mode(
    name="PREDICT",
    summary="Writes what the weights of a checkpoint predict for data.predict",
    carry_out=predict,
    loads=("predict",),
    needs=("predict",),
)
