"""The status of a run: finished, or stopped before its last step by time or a callback."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping, Timer

from ..config.mode import Mode
from ..schedulers.durations import steps_of_run

FINISHED = "finished"


def run_status(trainer: pl.Trainer, mode: Mode) -> dict[str, Any]:
    """Reports whether a run took all of its steps.

    Args:
        trainer: The Trainer that ran it.
        mode: Its mode.

    Returns:
        `status`: ``finished``, or ``stopped: <by what>`` if steps were left; and `reason`: the
        message of early stopping, after which a run counts as finished, else None.
    """
    max_steps = steps_of_run(trainer)
    if not mode.trains or (max_steps is not None and trainer.global_step >= max_steps):
        return {"status": FINISHED, "reason": None}
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    if any(isinstance(callback, Timer) and _has_expired(callback) for callback in callbacks):
        return {"status": "stopped: max_time", "reason": None}
    for callback in callbacks:
        if isinstance(callback, EarlyStopping) and callback.stopping_reason_message:
            return {"status": FINISHED, "reason": callback.stopping_reason_message}
    return {"status": "stopped: by a callback", "reason": None}


def _has_expired(timer: Timer) -> bool:
    remaining = timer.time_remaining()
    return remaining is not None and remaining <= 0
