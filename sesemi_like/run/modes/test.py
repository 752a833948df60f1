"""TEST: evaluates given weights on the test data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...config.mode import Mode

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from ..prepared import Prepared


def test(prepared: Prepared, trainer: pl.Trainer) -> dict[str, float]:
    """Tests the weights that the learner has.

    Args:
        prepared: The run.
        trainer: Its Trainer.
    """
    trainer.test(prepared.learner, datamodule=prepared.data, verbose=False)
    return {}


TEST = Mode(
    name="TEST",
    summary="Evaluates the weights of a checkpoint on data.test",
    carry_out=test,
    loads=("test", "evaluation"),
    needs=("test",),
)
