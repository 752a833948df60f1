"""Progress: what a line says, counted by hand."""

import io
import itertools
import re
import types
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from rich.console import Console

from sesemi_like.config.headline import Headline
from sesemi_like.report.progress import ProgressBar

TOP1 = Headline("val/top1", "max", "top-1")


class Trainer:
    """As much of a Trainer as the bar looks at."""

    world_size = 2
    current_epoch = 1
    global_step = 0
    training = True
    sanity_checking = False
    estimated_stepping_batches = 10
    datamodule = types.SimpleNamespace(rows_per_step=5)
    ckpt_path = None

    def __init__(self) -> None:
        self.callback_metrics: dict[str, torch.Tensor] = {}


def fake_trainer() -> Any:
    return Trainer()


def test_images_are_counted_over_all_processes_loaders_and_steps() -> None:
    seconds, output = iter([0.0, *range(1, 100)]), io.StringIO()
    bar = ProgressBar(Console(file=output), clock=lambda: next(seconds), headline=TOP1)
    trainer = fake_trainer()
    bar.on_train_start(trainer, None)  # at 0 s
    for step in range(3):  # at 1, 2 and 3 s
        trainer.global_step = step + 1
        bar.on_train_batch_end(trainer, None, None, {}, step)
    bar.on_validation_start(trainer, None)  # at 4 s
    bar.on_validation_end(trainer, None)  # at 5 s: one second of validation
    bar.on_train_end(trainer, None)  # the time left is known at 6 s, the figure at 7 s
    # 3 steps of 5 rows on 2 processes over 7 - 1 seconds of training.
    assert "  5 images/s" in output.getvalue()


def shown_by_bar(is_terminal: bool = False, width: int = 80) -> str:
    output = io.StringIO()
    seconds = itertools.count(step=0.01)
    console = Console(file=output, force_terminal=is_terminal, width=width)
    bar = ProgressBar(console, clock=lambda: next(seconds), headline=TOP1)
    trainer = fake_trainer()
    bar.on_train_start(trainer, None)
    trainer.callback_metrics = {
        "train/loss": torch.tensor(1.5), "train/fixmatch/weighted_loss": torch.tensor(0.25),
        "train/fixmatch/loss": torch.tensor(0.5), "lr": torch.tensor(0.03),
    }  # fmt: skip
    for step in range(4):
        trainer.global_step = step + 1
        bar.on_train_batch_end(trainer, None, None, {"a.image": torch.zeros(5, 1)}, step)
    bar.on_validation_start(trainer, None)
    for value in (0.9, 0.7):
        trainer.callback_metrics["val/top1"] = torch.tensor(value)
        bar.on_validation_end(trainer, None)
    trainer.global_step = 10
    bar.on_train_end(trainer, None)
    return output.getvalue()


def test_lines_where_there_is_no_terminal() -> None:
    text = shown_by_bar()
    lines = text.splitlines()
    assert "\x1b" not in text
    assert len(lines) == 3  # after each validation, and at the end; ten seconds have not passed
    assert lines[0].startswith("step 4/10  loss 1.500  fixmatch 0.250  lr 0.03  ")
    assert "top-1 0.900 (best 0.900)" in lines[0]
    assert "top-1 0.700 (best 0.900)" in lines[-1]
    assert re.search(r"[\d,]+ images/s", lines[-1])
    assert "left" in lines[0]


def test_a_bar_on_a_terminal() -> None:
    text = shown_by_bar(is_terminal=True)
    assert "epoch 2" in text
    assert "4/10" in text


def test_nothing_is_shown_by_other_processes() -> None:
    output = io.StringIO()
    bar = ProgressBar(Console(file=output), headline=TOP1)
    bar.disable()
    trainer = fake_trainer()
    bar.on_train_start(trainer, None)
    bar.on_train_end(trainer, None)
    assert output.getvalue() == ""


def test_lines_on_a_terminal_are_broken_between_figures() -> None:
    lines = [line.rstrip() for line in shown_by_bar(is_terminal=True, width=50).splitlines()]
    last = next(i for i, line in enumerate(lines) if "step 10/10" in line)
    ending = "\n".join(lines[last:])
    for part in ("loss 1.500", "top-1 0.700 (best 0.900)", "images/s"):
        assert any(part in line for line in lines[last:]), ending
    assert re.search(r"\d images/s", ending)
    assert re.search(r"in 0:0\d", ending)


def test_a_stopped_run_says_how_it_goes_on_with_its_config_where_that_is_kept(
    tmp_path: Path,
) -> None:
    output, callback, trainer = io.StringIO(), ModelCheckpoint(), fake_trainer()
    trainer.checkpoint_callbacks = [callback]
    bar = ProgressBar(Console(file=output), headline=TOP1)
    bar.on_exception(trainer, None, KeyboardInterrupt())
    assert output.getvalue() == ""
    callback.best_model_path = str(tmp_path / "checkpoints" / "last.ckpt")
    bar.on_exception(trainer, None, KeyboardInterrupt())
    assert f"; run.resume_from_checkpoint={callback.best_model_path} goes" in output.getvalue()
    (tmp_path / "composed.yaml").touch()
    bar.on_exception(trainer, None, KeyboardInterrupt())
    assert f"; open_cli run.from_run={tmp_path} goes on from" in output.getvalue()
