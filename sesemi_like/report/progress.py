"""The progress of training: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from ..config.from_run import COMPOSED, KEY
from ..config.headline import Headline
from ..learners.checkpoints.saving import newest_checkpoint
from ..schedulers.durations import steps_of_run
from .lines import format_duration, wrap_items

_TERMINAL_SECONDS, _LINE_SECONDS = 0.25, 10.0


class ProgressBar(pl.callbacks.ProgressBar):
    """Shows the step, the losses, the learning rate, images/s, the headline and the time left.

    Losses are those of the last logged step: the whole, then each head's weighted one. Images/s
    counts the samples of full batches of every train loader, each once however many views it has,
    over the time since training began, loading included and validation left out.

    Args:
        console: Where to; None is standard output. Unless it is a terminal, a line is printed every
            ten seconds and after each validation.
        clock: Returns seconds.
        headline: The figure of validation that is shown with its best value so far, if any.
    """

    def __init__(
        self,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
        headline: Headline | None = None,
    ) -> None:
        super().__init__()
        self._headline = headline if headline and headline.split == "val" else None
        self._clock = clock
        self.console = console or Console()
        self._enabled = True
        self._live: Live | None = None
        self._best: float | None = None
        self._images, self._validating = 0, 0.0
        self._validation_began = self._last_shown = self._began = 0.0
        self._first_step = 0

    def disable(self) -> None:
        """Shows nothing on processes other than the first."""
        self._enabled = False

    def enable(self) -> None:
        """Shows progress again."""
        self._enabled = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Starts the clock and the bar."""
        self._began = self._last_shown = self._clock()
        self._images, self._validating = 0, 0.0
        self._first_step = trainer.global_step
        if self._enabled and self.console.is_terminal:
            self._live = Live(console=self.console, transient=True, auto_refresh=False)
            self._live.start()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        """Counts the step's images, and shows the progress when it is time."""
        now = self._clock()
        rows = getattr(trainer.datamodule, "rows_per_step", 0)  # type: ignore[attr-defined]
        self._images += rows * trainer.world_size
        wait = _TERMINAL_SECONDS if self._live else _LINE_SECONDS
        if self._enabled and now - self._last_shown >= wait:
            self._show(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Starts the clock of a validation."""
        self._validation_began = self._clock()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Notes the headline and shows it."""
        self._validating += self._clock() - self._validation_began
        headline = self._headline
        value = trainer.callback_metrics.get(headline.name) if headline else None
        if trainer.sanity_checking or headline is None or value is None:
            return
        new = float(value)
        self._best = new if self._best is None else headline.best(new, self._best)
        if self._enabled and trainer.training:
            self._show(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Shows the last step and leaves it on the terminal."""
        self._stop()
        if self._enabled:
            self._print(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Releases the terminal, and says how to resume."""
        self._stop()
        checkpoint = newest_checkpoint(trainer)
        if self._enabled and checkpoint:
            text = f"stopped; {_resume_arguments(checkpoint)} goes on from the last epoch"
            self.console.print(Text(text), soft_wrap=not self.console.is_terminal)

    def _stop(self) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def _show(self, trainer: pl.Trainer) -> None:
        self._last_shown = self._clock()
        if self._live is None:
            self._print(trainer)
            return
        progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]} left"),
            console=self.console,
            expand=True,
        )
        left = format_duration(self._seconds_left(trainer))
        step, total = trainer.global_step, steps_of_run(trainer)
        progress.add_task(
            "", total=total, completed=step, epoch=trainer.current_epoch + 1, left=left
        )
        self._live.update(
            Group(progress, Text(wrap_items(self._numbers(trainer), self.console.width))),
            refresh=True,
        )

    def _print(self, trainer: pl.Trainer) -> None:
        # A log keeps each record on one line.
        width = self.console.width if self.console.is_terminal else None
        self.console.print(Text(wrap_items(self._parts(trainer), width)), soft_wrap=width is None)

    def _parts(self, trainer: pl.Trainer) -> list[str]:
        total = steps_of_run(trainer)
        step = f"step {trainer.global_step}" + (f"/{total}" if total else "")
        left = self._seconds_left(trainer)
        ending = (
            f"{format_duration(left)} left"
            if left
            else f"in {format_duration(self._clock() - self._began)}"
        )
        return [step, *self._numbers(trainer), ending]

    def _numbers(self, trainer: pl.Trainer) -> list[str]:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        parts = [f"loss {metrics['train/loss']:.3f}"] if "train/loss" in metrics else []
        for name, value in metrics.items():
            if name.startswith("train/") and name.endswith("/weighted_loss"):
                parts.append(f"{name.split('/')[1]} {value:.3f}")
        parts += [f"lr {metrics['lr']:.2g}"] if "lr" in metrics else []
        seconds = self._clock() - self._began - self._validating
        parts += [f"{self._images / seconds:,.0f} images/s"] if self._images else []
        if self._best is not None and (headline := self._headline):
            value = metrics.get(headline.name, self._best)
            parts.append(f"{headline.words} {value:.3f} (best {self._best:.3f})")
        return parts

    def _seconds_left(self, trainer: pl.Trainer) -> float | None:
        total, done = steps_of_run(trainer), trainer.global_step - self._first_step
        if total is None or not done:
            return None
        return (self._clock() - self._began) / done * max(0, total - trainer.global_step)


def _resume_arguments(checkpoint: Path) -> str:
    """The arguments that resume from a checkpoint, with its run's config if that was kept."""
    folder = checkpoint.parent.parent
    if checkpoint == folder / "checkpoints" / "last.ckpt" and (folder / COMPOSED).is_file():
        return f"open_cli {KEY}={folder}"
    return f"run.resume_from_checkpoint={checkpoint}"
