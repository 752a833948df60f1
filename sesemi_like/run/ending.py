"""How a run came to its end: after all its steps, or stopped before by time or a callback."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping, Timer

from ..config.modes import Mode
from ..schedulers.durations import steps_of_run

FINISHED = "finished"


def ending(trainer: pl.Trainer, mode: Mode) -> dict[str, Any]:
    """Says whether a run went to its end.

    Args:
        trainer: What ran it.
        mode: What it did.

    Returns:
        `status`: ``finished``, or ``stopped: <by what>`` where steps were left; and `reason`: why
        early stopping found enough was learned, which counts as finished, else None.
    """
    most = steps_of_run(trainer)
    if not mode.trains or (most is not None and trainer.global_step >= most):
        return {"status": FINISHED, "reason": None}
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    if any(isinstance(c, Timer) and _is_over(c) for c in callbacks):
        return {"status": "stopped: max_time", "reason": None}
    for callback in callbacks:
        if isinstance(callback, EarlyStopping) and callback.stopping_reason_message:
            return {"status": FINISHED, "reason": callback.stopping_reason_message}
    return {"status": "stopped: by a callback", "reason": None}


def _is_over(timer: Timer) -> bool:
    left = timer.time_remaining()
    return left is not None and left <= 0
