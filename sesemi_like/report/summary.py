"""The end of a run: summary.json, and what was learned on the terminal."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table

from .._version import __version__
from ..files import write_atomically

_SHOWN_CLASSES, _SHOWN_PAIRS = 10, 3


def write_summary(path: Path, content: Mapping[str, Any]) -> None:
    """Writes ``summary.json``; a run folder that has one is a finished one.

    Args:
        path: The file; it appears whole or not at all.
        content: What happened, as plain values; the versions in use are added.
    """
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "pytorch_lightning": metadata.version("pytorch-lightning"),
        "sesemi_like": __version__,
    }
    text = json.dumps({**content, "versions": versions}, indent=2)
    write_atomically(path, text + "\n")


def print_opening(
    run_id: str,
    sizes: Mapping[str, int],
    labels: Mapping[str, int],
    length: str,
    where: str,
    console: Console | None = None,
) -> None:
    """Shows in one line what is about to run.

    Args:
        run_id: `run.id`.
        sizes: Samples by loader; those of streamed loaders are not known and left out.
        labels: Labels by train loader.
        length: How long the run is, in words.
        where: The devices, in words.
        console: Where to; None is standard output.
    """
    data = [
        f"{name} {size:,}"
        + (f" ({labels[name]:,} labelled)" if labels.get(name, size) < size else "")
        for name, size in sizes.items()
    ]
    text = f"{run_id}: {length} on {where}; samples: {', '.join(data)}"
    console = console or Console()
    console.print(text, highlight=False, soft_wrap=not console.is_terminal)


def print_summary(
    content: Mapping[str, Any],
    confusion: npt.NDArray[np.int64] | None = None,
    classes: list[str] | None = None,
    console: Console | None = None,
) -> None:
    """Shows what a run has learned, in 80 columns.

    Args:
        content: What `write_summary` wrote: `metrics`, `seconds`, `steps`, `folder`, `skipped`.
        confusion: Counts (C, C), rows true and columns predicted.
        classes: The names of the classes.
        console: Where to; None is standard output.
    """
    console = console or Console()
    table = Table(title="What it learned", title_justify="left", show_header=False)
    for name, value in _headlines(content["metrics"]).items():
        table.add_row(name, value)
    if confusion is not None:
        names = classes or [str(number) for number in range(len(confusion))]
        for name, value in _by_class(confusion, names).items():
            table.add_row(name, value)
    for name, files in content.get("skipped", {}).items():
        table.add_row(f"unreadable in {name}", f"{len(files)}, skipped; the first is {files[0]}")
    table.add_row("steps, time", f"{content['steps']:,}, {content['seconds']:.0f} s")
    console.print(table)
    console.print(f"Everything is in {content['folder']}", highlight=False, soft_wrap=True)


def _headlines(metrics: Mapping[str, float]) -> dict[str, str]:
    """The accuracies, test before validation, in words."""
    words = {"top1": "top-1", "model/top1": "top-1 of the model", "ema/top1": "top-1 of its EMA"}
    shown = {}
    for split, where in {"test": "test", "val": "validation"}.items():
        for name, word in words.items():
            if f"{split}/{name}" in metrics:
                shown[f"{where} {word}"] = f"{metrics[f'{split}/{name}']:.3f}"
    return shown


def _by_class(confusion: npt.NDArray[np.int64], names: list[str]) -> dict[str, str]:
    """Accuracy of the worst classes, and the pairs most often taken for each other."""
    counts = confusion.sum(axis=1)
    shares = np.diag(confusion) / np.maximum(counts, 1)
    worst = [int(i) for i in np.argsort(shares, kind="stable") if counts[i]][:_SHOWN_CLASSES]
    rows = {"by class, worst first": ", ".join(f"{names[i]} {shares[i]:.2f}" for i in worst)}
    wrong = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_SHOWN_PAIRS]
    cells = [np.unravel_index(int(flat), wrong.shape) for flat in order]
    pairs = [f"{names[r]} as {names[c]} ({wrong[r, c]})" for r, c in cells if wrong[r, c]]
    if pairs:
        rows["most confused"] = ", ".join(pairs)
    return rows
