"""Progress: what a line says, counted by hand."""

import io
import re

import torch
from rich.console import Console

from sesemi_like.report.progress import ProgressBar, _clock, count_images


class Trainer:
    """As much of a Trainer as the bar looks at."""

    world_size = 2
    current_epoch = 1
    global_step = 0
    training = True
    sanity_checking = False
    estimated_stepping_batches = 10

    def __init__(self):
        self.callback_metrics = {}


def test_images_are_counted_once_however_many_views_they_have():
    batch = {"a.image": torch.zeros(4, 1), "a.target": torch.zeros(4), "b.weak": torch.zeros(6, 1),
             "b.rotation.image": torch.zeros(24, 1), "b.index": torch.zeros(6)}  # fmt: skip
    assert count_images(batch) == 10


def shown(is_terminal=False, width=80):
    output = io.StringIO()
    bar = ProgressBar(Console(file=output, force_terminal=is_terminal, width=width))
    trainer = Trainer()
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


def test_lines_where_there_is_no_terminal():
    text = shown()
    lines = text.splitlines()
    assert "\x1b" not in text
    assert len(lines) == 3  # after each validation, and at the end; ten seconds have not passed
    assert lines[0].startswith("step 4/10  loss 1.500  fixmatch 0.250  lr 0.03  ")
    assert "top-1 0.900 (best 0.900)" in lines[0]
    assert "top-1 0.700 (best 0.900)" in lines[-1]
    assert re.search(r"[\d,]+ images/s", lines[-1])
    assert "left" in lines[0]


def test_a_bar_on_a_terminal():
    text = shown(is_terminal=True)
    assert "epoch 2" in text
    assert "4/10" in text


def test_nothing_is_shown_by_other_processes():
    output = io.StringIO()
    bar = ProgressBar(Console(file=output))
    bar.disable()
    trainer = Trainer()
    bar.on_train_start(trainer, None)
    bar.on_train_end(trainer, None)
    assert output.getvalue() == ""


def test_clock():
    assert [_clock(s) for s in (None, 5.9, 65, 3725)] == ["?", "0:05", "1:05", "1:02:05"]
