"""FIT: trains, and tests and predicts with the best weights at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...config.mode import Mode

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from ..prepared import Prepared


def fit(prepared: Prepared, trainer: pl.Trainer) -> dict[str, float]:
    """Trains with validation; the best weights are tested and predict, where there are data.

    Args:
        prepared: The run.
        trainer: Its Trainer.

    Returns:
        The metrics of the last training step that was logged.
    """
    from ...trainer.checkpoints import best_checkpoint
    from ..predictions.predict import write_predictions
    from ..summary import scalar_metrics

    learner, data, run = prepared.learner, prepared.data, prepared.config.run
    trainer.fit(learner, datamodule=data, ckpt_path=run.resume_from_checkpoint, weights_only=True)
    metrics = scalar_metrics(trainer.callback_metrics)  # before those of the test join them
    if "val" in data.datasets and not prepared.evaluation.last and run.resume is not None:
        trainer.validate(learner, datamodule=data, verbose=False)  # killed after its last step
    best = best_checkpoint(trainer)
    path = best.path if best else None
    if "test" in data.datasets:
        trainer.test(learner, datamodule=data, ckpt_path=path, verbose=False, weights_only=True)
    if "predict" in data.datasets and not trainer.fast_dev_run:  # type: ignore[attr-defined]
        write_predictions(prepared, trainer, path)
    return {name: value for name, value in metrics.items() if not name.startswith("val/")}


FIT = Mode(
    name="FIT",
    summary="Trains with validation; tests and predicts with the best weights where data are given",
    carry_out=fit,
    loads=("train", "val", "test", "evaluation", "predict"),
    needs=("train",),
    trains=True,
)
