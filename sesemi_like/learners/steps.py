"""Where training stands in a step, and whether that step is logged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl

from ..compat.lightning import writes_logs
from ..models.heads.loss.base import Step
from ..schedulers.durations import steps_of_run
from .checkpoints import rng

if TYPE_CHECKING:
    from .base import Learner


def trainer_of(learner: pl.LightningModule) -> pl.Trainer | None:
    """The trainer of the run that a learner is part of, or None outside of one."""
    try:
        return learner.trainer
    except RuntimeError:  # what Lightning raises outside of a run
        return None


def next_step(learner: Learner, batch: Mapping[str, Any]) -> Step:
    """Describes the step that a batch is for.

    Args:
        learner: The learner; outside of a run the step is the first of a run without end.
        batch: The fields of the step, by full name.
    """
    trainer, index = trainer_of(learner), learner.global_step
    if trainer is None:
        return Step(index, None, learner.networks, batch, seed=learner.seed)
    # Batches are counted, not steps: each of those that one step accumulates has its own draws.
    number = trainer.fit_loop.total_batch_idx
    seed = rng.seed_of_batch(learner.seed, number, learner.global_rank)
    max_steps, epoch = steps_of_run(trainer), trainer.current_epoch
    return Step(index, max_steps, learner.networks, batch, epoch, seed)


def is_written(learner: Learner, step: Step) -> bool:
    """Whether the figures of a step are logged: they are written, or it ends an epoch or the run.

    The others need not compute what is only logged.

    Args:
        learner: The learner; outside of a run nothing is logged.
        step: Where training stands.
    """
    trainer = trainer_of(learner)
    if trainer is None:
        return False
    is_last = trainer.is_last_batch or step.index + 1 == step.max_steps
    return is_last or writes_logs(trainer)
