"""FIT: trains, and tests the best weights at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...config.mode import Mode

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from ..prepared import Prepared


def fit(prepared: Prepared, trainer: pl.Trainer) -> dict[str, float]:
    """Trains with validation, and tests the best weights if there is a test loader.

    Args:
        prepared: The run.
        trainer: Its Trainer.

    Returns:
        The metrics of the last training step that was logged.
    """
    from ...trainer.checkpoints import best_checkpoint
    from ..summary import scalar_metrics

    learner, data, run = prepared.learner, prepared.data, prepared.config.run
    trainer.fit(learner, datamodule=data, ckpt_path=run.resume_from_checkpoint, weights_only=True)
    metrics = scalar_metrics(trainer.callback_metrics)  # before those of the test join them
    if "val" in data.datasets and not prepared.evaluation.last and run.resume is not None:
        trainer.validate(learner, datamodule=data, verbose=False)  # killed after its last step
    if "test" in data.datasets:
        best = best_checkpoint(trainer)
        path = best.path if best else None
        trainer.test(learner, datamodule=data, ckpt_path=path, verbose=False, weights_only=True)
    return {name: value for name, value in metrics.items() if not name.startswith("val/")}


FIT = Mode(
    name="FIT",
    summary="Trains with validation, and tests the best weights if data.test is given",
    carry_out=fit,
    loads=("train", "val", "test", "evaluation"),
    needs=("train",),
    trains=True,
)
