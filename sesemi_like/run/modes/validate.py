"""VALIDATE: evaluates given weights on the validation data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...config.mode import Mode

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from ..prepared import Prepared


def validate(prepared: Prepared, trainer: pl.Trainer) -> dict[str, float]:
    """Validates the weights that the learner has.

    Args:
        prepared: The run.
        trainer: Its Trainer.
    """
    trainer.validate(prepared.learner, datamodule=prepared.data, verbose=False)
    return {}


VALIDATE = Mode(
    name="VALIDATE",
    summary="Evaluates the weights of a checkpoint on data.val",
    carry_out=validate,
    loads=("val", "evaluation"),
    needs=("val",),
)
