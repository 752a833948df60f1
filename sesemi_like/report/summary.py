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
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .._version import __version__
from ..config.headline import Headline
from ..files import write_atomically
from .lines import wrap_items

_SHOWN_CLASSES, _SHOWN_PAIRS = 10, 3
_FRAME = 7
"""Columns of a table of two columns that hold lines and spaces."""


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
    unreadable: Mapping[str, int] | None = None,
    console: Console | None = None,
) -> None:
    """Shows in one line what is about to run.

    Args:
        run_id: `run.id`.
        sizes: Samples by loader; those of streamed loaders are not known and left out.
        labels: Labels by train loader.
        length: How long the run is, in words.
        where: The devices, in words.
        unreadable: Images by loader that are skipped, where there are any.
        console: Where to; None is standard output.
    """
    data = []
    for name, size in sizes.items():
        notes = [f"{labels[name]:,} labeled"] if labels.get(name, size) < size else []
        notes += [f"{count:,} unreadable"] if (count := (unreadable or {}).get(name)) else []
        data.append(f"{name} {size:,}" + (f" ({', '.join(notes)})" if notes else ""))
    data = data or ["streamed"]
    console = console or Console()
    width = console.width if console.is_terminal else None
    items = [f"{run_id}: {length} on {where}; samples: {data[0]}", *data[1:]]
    console.print(Text(wrap_items(items, width, ", ")), soft_wrap=width is None)


def print_summary(
    content: Mapping[str, Any],
    confusion: npt.NDArray[np.int64] | None = None,
    classes: list[str] | None = None,
    console: Console | None = None,
) -> None:
    """Shows what a run has learned, in 80 columns.

    Args:
        content: What `write_summary` wrote: `judged_by`, `headline`, `metrics`, `measured`, `best`,
            `seconds`, `steps`, `folder`, `skipped`, `frozen_features`.
        confusion: Counts (C, C), rows true and columns predicted.
        classes: The names of the classes.
        console: Where to; None is standard output.
    """
    console = console or Console()
    headline = Headline(**content["judged_by"])
    rows: dict[str, str | list[str]] = {}
    weights = {}
    for split, where in (("test", "test"), ("val", "validation")):
        rows |= _figures(content, headline, split, where)
        if headline.on(split) in content["measured"]:
            weights[where] = _weights(content, headline, split)
    if headline.split == "train" and content["headline"] is not None:
        rows[f"training {headline.words}"] = f"{content['headline']:.3f}"
    if len(set(weights.values())) == 1:
        rows["weights"] = next(iter(weights.values()))
    else:
        rows |= {f"{where} weights": found for where, found in weights.items()}
    if confusion is not None:
        named = classes or []  # a learner may distinguish more classes than its data name
        names = [*named, *(str(number) for number in range(len(named), len(confusion)))]
        rows |= _by_class(confusion, names)
    if fields := content.get("frozen_features"):
        rows["frozen backbone"] = _kept_features(fields)
    for name, files in content.get("skipped", {}).items():
        rows[f"unreadable in {name}"] = f"{len(files)}, skipped; the first is {files[0]}"
    if (status := content.get("status", "finished")) != "finished":
        rows["status"] = status
    rows["steps, time"] = f"{content['steps']:,}, {content['seconds']:.0f} s"
    console.print(_table(rows, console.width))
    console.print(Text(f"Everything is in {content['folder']}"), soft_wrap=True)


def _table(rows: Mapping[str, str | list[str]], width: int) -> Table:
    """Two columns; lists are broken between their items alone."""
    room = width - max(cell_len(name) for name in rows) - _FRAME
    table = Table(title="What it learned", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")  # the end of a path says which checkpoint it is
    for name, value in rows.items():
        shown = value if isinstance(value, str) else wrap_items(value, room, ", ")
        table.add_row(Text(name), Text(shown))
    return table


def _figures(
    content: Mapping[str, Any], headline: Headline, split: str, where: str
) -> dict[str, str]:
    """The headline, which is that of the EMA, with what is known of its precision."""
    words = {headline.metric: headline.words}
    if headline.on(f"{split}/ema") in content["metrics"]:
        words[f"model/{headline.metric}"] = "without EMA"
    return {
        f"{where} {word}": _with_interval(content, f"{split}/{name}")
        for name, word in words.items()
        if f"{split}/{name}" in content["metrics"]
    }


def _with_interval(content: Mapping[str, Any], name: str) -> str:
    shown = f"{content['metrics'][name]:.3f}"
    entry = content["measured"].get(name, {})
    if "interval" in entry:
        low, high = entry["interval"]
        shown += f" (95 %: {low:.3f}-{high:.3f}) from {entry['images']:,} images"
    return shown


def _weights(content: Mapping[str, Any], headline: Headline, split: str) -> str:
    """Which checkpoint was evaluated; of the best one, also what it is the best by."""
    entry, best = content["measured"][headline.on(split)], content.get("best")
    words = {"best": "best checkpoint", "last": "last checkpoint"}
    shown = words.get(entry["checkpoint"]) or entry["path"] or "held in memory"
    if entry["step"] is not None:
        shown += f" (step {entry['step']:,})"
    if entry["checkpoint"] == "best" and best:
        monitor = best["monitor"]
        metric = f"validation {headline.words}" if monitor == headline.name else monitor
        shown += f", {metric} {best['score']:.3f}"
    return shown


def _kept_features(fields: list[dict[str, Any]]) -> str:
    """On how much a frozen backbone was run before training, in place of in each step."""
    computed = sum(field["computed"] * field["views"] for field in fields)
    read = sum((field["samples"] - field["computed"]) * field["views"] for field in fields)
    if not computed:
        return f"features of {read:,} views of samples read from run.cache_dir"
    seconds = sum(field["seconds"] for field in fields)
    shown = f"run once for {computed:,} views of samples in {seconds:.0f} s"
    return shown + (f", {read:,} read from run.cache_dir" if read else "")


def _by_class(confusion: npt.NDArray[np.int64], names: list[str]) -> dict[str, list[str]]:
    """Accuracy of the worst classes, and the pairs most often taken for each other."""
    counts = confusion.sum(axis=1)
    shares = np.diag(confusion) / np.maximum(counts, 1)
    worst = [int(i) for i in np.argsort(shares, kind="stable") if counts[i]][:_SHOWN_CLASSES]
    rows = {}
    if worst:
        rows["by class, worst first"] = [f"{names[i]} {shares[i]:.2f}" for i in worst]
    wrong = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_SHOWN_PAIRS]
    cells = [np.unravel_index(int(flat), wrong.shape) for flat in order]
    pairs = [f"{names[r]} as {names[c]} ({wrong[r, c]})" for r, c in cells if wrong[r, c]]
    if pairs:
        rows["most confused"] = pairs
    return rows
