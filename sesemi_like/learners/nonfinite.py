"""What follows a training loss that is nan or infinite: the run stops, or skips that step."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from ..distributed import all_true, gather_objects, world_size
from ..errors import NonFiniteLossError

log = logging.getLogger(__name__)

_MAX_DELAY = 50
"""Steps after which losses are checked where that makes a GPU or other processes wait."""

_SHOWN_ROWS, _SHOWN_STEPS = 5, 3


@dataclass(frozen=True)
class _StepLosses:
    """A step's losses, and which rows they are of."""

    step: int
    losses: Mapping[str, Tensor]
    rows: Mapping[str, Tensor]


class NonFiniteLosses(pl.Callback):
    """Stops a run whose training loss is nan or infinite, or skips such steps.

    To `stop`, one process on the CPU checks the loss of every step. Elsewhere losses are checked
    every 50 steps or as often as metrics are logged, and before each validation and checkpoint, so
    that no step waits for a GPU or for other processes, and no checkpoint is kept of what followed.

    To `skip`, every step asks all processes, which costs a wait as torch's gradient scaler does. A
    skipped step changes no weight, buffer, optimizer state or average.

    Args:
        action: ``stop`` or ``skip``.
        max_in_a_row: Skipped steps in a row after which a run stops all the same.

    Attributes:
        num_skipped: Steps skipped so far.
    """

    def __init__(self, action: str = "stop", max_in_a_row: int = 100) -> None:
        self.action, self.max_in_a_row = action, max_in_a_row
        self.num_skipped = 0
        self._in_a_row = 0
        self._waiting: list[_StepLosses] = []
        self._rows: dict[str, Tensor] = {}
        self._buffers: list[tuple[Tensor, Tensor]] | None = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Mapping[str, Any], batch_idx: int
    ) -> None:
        """Keeps the buffers as they are before a step that may be skipped."""
        if self.action != "skip":
            return
        if self._buffers is None:
            self._buffers = [(value, value.clone()) for value in pl_module.buffers()]
        self._rows = _rows_of(batch)

    def on_after_backward(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Notes the losses of every batch whose gradients a step is made of."""
        if self.action == "skip":
            self._waiting.append(
                _StepLosses(trainer.global_step + 1, pl_module.step_losses, self._rows)
            )

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: Any, optimizer: torch.optim.Optimizer
    ) -> None:
        """Removes the gradients of a step that is to be skipped: optimizers then do nothing."""
        if self.action != "skip":
            return
        steps, self._waiting = self._waiting, []
        buffers, self._buffers = self._buffers, None
        pl_module.skips_step = not self._are_finite(steps, pl_module.device)
        if not pl_module.skips_step:
            self._in_a_row = 0
            return
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for value, before in buffers or []:
                value.copy_(before)
        self._count(trainer, steps)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Checks the loss if that costs nothing, else keeps it for a later check."""
        if self.action == "skip":
            return
        is_free = world_size() == 1 and pl_module.device.type == "cpu"
        if is_free and math.isfinite(outputs["loss"]):
            return
        self._waiting.append(
            _StepLosses(trainer.global_step, pl_module.step_losses, _rows_of(batch))
        )
        max_delay = min(_MAX_DELAY, trainer.log_every_n_steps)  # type: ignore[attr-defined]
        if is_free or trainer.is_last_batch or len(self._waiting) >= max_delay:
            self._check(trainer, pl_module)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Checks before anything is measured."""
        self._check(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]
    ) -> None:
        """Checks before anything is saved."""
        self._check(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Checks the last losses, and logs how many steps were skipped."""
        self._check(trainer, pl_module)
        if self.num_skipped and trainer.is_global_zero:
            log.warning("%d steps were skipped because their loss was not finite", self.num_skipped)

    def state_dict(self) -> dict[str, int]:
        """How many steps were skipped."""
        return {"skipped": self.num_skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a checkpoint's count."""
        self.num_skipped = state_dict["skipped"]

    def _check(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Stops if a loss was not finite on any process; called on all of them alike.

        Raises:
            NonFiniteLossError: Naming head, step and rows.
        """
        if self.action != "stop" or not self._waiting:
            return
        steps, self._waiting = self._waiting, []
        if not self._are_finite(steps, pl_module.device):
            description = _describe_first(steps, trainer)
            expected = "a lower learning rate may do, or run.on_nonfinite=skip goes on without"
            raise NonFiniteLossError(f"{description}; {expected} such steps")

    def _are_finite(self, steps: list[_StepLosses], device: torch.device) -> bool:
        losses = [loss for step in steps for loss in step.losses.values()]
        is_finite = not losses or bool(torch.stack(losses).isfinite().all())
        return all_true(is_finite, device)

    def _count(self, trainer: pl.Trainer, steps: list[_StepLosses]) -> None:
        self.num_skipped += 1
        self._in_a_row += 1
        description = _describe_first(steps, trainer) if self.num_skipped <= _SHOWN_STEPS else ""
        if description and trainer.is_global_zero:
            log.warning("skipped (%d so far): %s", self.num_skipped, description)
        if self._in_a_row == self.max_in_a_row:
            description = _describe_first(steps, trainer)
            raise NonFiniteLossError(f"{self._in_a_row} steps in a row were skipped: {description}")


def _rows_of(batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """The positions of a batch's samples, by loader."""
    names = {key: key.partition(".") for key in batch}
    return {loader: batch[key] for key, (loader, _, field) in names.items() if field == "index"}


def skipped_steps(trainer: pl.Trainer) -> int:
    """How many steps of a run were skipped."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    return sum(c.num_skipped for c in callbacks if isinstance(c, NonFiniteLosses))


def _describe_first(steps: list[_StepLosses], trainer: pl.Trainer) -> str:
    """Names step, heads and rows of the first loss on any process that is not finite."""
    own = next(((s.step, _describe(s, trainer)) for s in steps if _nonfinite(s)), None)
    descriptions = [part for part in gather_objects(own) if part is not None]
    return min(descriptions)[1]


def _nonfinite(step: _StepLosses) -> dict[str, float]:
    values = {name: float(loss) for name, loss in step.losses.items()}
    return {name: value for name, value in values.items() if not math.isfinite(value)}


def _describe(step: _StepLosses, trainer: pl.Trainer) -> str:
    names: Any = getattr(trainer.datamodule, "names_of", None)  # type: ignore[attr-defined]
    heads = ", ".join(f"{name} is {value}" for name, value in _nonfinite(step).items())
    parts = []
    for loader, index in step.rows.items():
        positions = list(dict.fromkeys(index.tolist()))
        shown = positions[:_SHOWN_ROWS]
        listed = ", ".join(names(loader, shown) if names else map(str, shown))
        rest = f", ... ({len(positions)} in all)" if len(positions) > len(shown) else ""
        parts.append(f"{loader}: {listed}{rest}")
    return f"step {step.step}: the loss of {heads}; samples of {'; '.join(parts) or 'no loader'}"
