"""The runs of a sweep, recorded as they end: a table on the terminal, and `summary.csv`."""

from __future__ import annotations

import csv
import io
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, product
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from ..config.command_line import choices, values_by_key
from ..config.headline import Headline
from ..files import RUN_FOLDER, write_atomically

Job = Callable[[DictConfig], Mapping[str, Any]]

_OWN_COLUMNS = ("method", "run.seed")
"""Overrides that every table has a column for, whether or not they differ."""

log = logging.getLogger(__name__)


@dataclass
class Row:
    """One run of a sweep.

    Attributes:
        number: Its number, from 0.
        differing: What differs from the other runs: values by config key.
        status: That of its summary, or failed, stopped, not run.
        method: The choice of the group `method`.
        seed: Its seed.
        summary: What its ``summary.json`` holds; empty unless it came to its end.
        folder: Its folder, as far as one was made.
        reason: Why it failed.
    """

    number: int
    differing: dict[str, str]
    status: str = "not run"
    method: str = ""
    seed: str = ""
    summary: Mapping[str, Any] = field(default_factory=dict)
    folder: str = ""
    reason: str = ""

    @property
    def figures(self) -> dict[str, float | None]:
        """The headline of the weights that count, and the same figure of the test."""
        metrics, best = self.summary.get("metrics", {}), self.summary.get("best") or {}
        if "judged_by" not in self.summary:
            return {}
        headline = Headline(**self.summary["judged_by"])
        value = best["score"] if best.get("monitor") == headline.name else None
        if value is None and headline.split == "train":
            value = self.summary["headline"]
        value = metrics.get(headline.name) if value is None else value
        return {headline.split: value, "test": metrics.get(headline.on("test"))}


class Sweep:
    """The task of every run of a sweep, which records its result.

    Args:
        job: Carries out a composed config; returns what ``summary.json`` holds.
        explain: Puts an error into one or more lines.
        overrides: The overrides of the command line, several values each.
    """

    def __init__(
        self, job: Job, explain: Callable[[Exception], str], overrides: Sequence[str]
    ) -> None:
        self.job = job
        self.explain = explain
        self.overrides = list(overrides)
        self.rows: list[Row] = []
        self._plan: list[dict[str, str]] = []
        self._table: Path | None = None

    def __call__(self, config: DictConfig) -> float | None:
        """Carries out one run.

        Args:
            config: Its composed config.

        Returns:
            Its headline figure, by which a sweeper may choose.
        """
        row = self._start_row(config)
        try:
            row.summary = self.job(config)
            row.status, row.seed = row.summary["status"], str(row.summary["seed"])
        except Exception as error:
            text = self.explain(error)
            row.status, row.reason = "failed", _first_reason(text)
            print(text, file=sys.stderr, flush=True)
            raise
        except BaseException:
            row.status = "stopped"
            raise
        finally:
            row.folder = os.environ.get(RUN_FOLDER, "") if _is_first() else ""
            self._write()
        headline: float | None = row.summary["headline"]
        return headline

    def finish(self) -> None:
        """Shows the table, with the runs that were planned and never started."""
        if not self.rows or not _is_first():
            return
        done = len(self.rows)
        self.rows += [Row(n, plan) for n, plan in enumerate(self._plan) if n >= done]
        self._write()
        _show(self.rows)
        if self._table:
            print(f"The table is in {self._table}", flush=True)

    def _start_row(self, config: DictConfig) -> Row:
        hydra, chosen = HydraConfig.get(), choices()
        if not self.rows:
            self._plan = _plan_runs(self.overrides)
            self._table = _free_path(Path(str(hydra.sweep.dir)))
        if _is_first():
            os.environ.pop(RUN_FOLDER, None)
        seed = config.run.get("seed")
        row = Row(
            number=int(hydra.job.num),
            differing=chosen.differing,
            method=chosen.groups.get("method", ""),
            seed="" if seed is None else str(seed),
        )
        self.rows.append(row)
        return row

    def _write(self) -> None:
        """Writes the table anew after each run, so that a killed sweep leaves what it has."""
        if not self._table or not _is_first():
            return
        try:
            write_atomically(self._table, _csv(self.rows))
        except OSError as error:
            log.warning("%s cannot be written: %s", self._table, error.strerror)
            self._table = None


def _is_first() -> bool:
    """Whether this is the first process of a launch."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))


def _plan_runs(overrides: Sequence[str]) -> list[dict[str, str]]:
    """What differs in each run, in order; empty where a sweeper decides as it goes."""
    sweeper = HydraConfig.get().sweeper
    if not str(sweeper.get("_target_", "")).endswith(".BasicSweeper"):
        return []
    given = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    given += [override for override in overrides if not override.lstrip("+~").startswith("hydra.")]
    parsed = OverridesParser.create().parse_overrides(given)
    values = {override.get_key_element(): _values(override) for override in parsed}
    runs = product(*values.values())
    alike = HydraConfig.get().job.config.override_dirname.exclude_keys
    return [{k: v for k, v in values_by_key(run).items() if k not in alike} for run in runs]


def _values(override: Override) -> list[str]:
    """The overrides of single values that one of a sweep stands for."""
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def _free_path(folder: Path) -> Path:
    """The first of summary.csv, summary-2.csv, ... that no earlier sweep has written."""
    for number in count(1):
        path = folder / ("summary.csv" if number == 1 else f"summary-{number}.csv")
        if not path.exists():
            return path
    raise AssertionError("count() does not end")


def _first_reason(text: str) -> str:
    """The first problem of a list of them, else the last line, where a stack trace has it."""
    lines = [line.strip() for line in text.strip().splitlines()]
    problems = [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    return problems[0] if problems else lines[-1]


def _csv(rows: Sequence[Row]) -> str:
    """A line for each run: what differs, and every metric."""
    entries = []
    for row in rows:
        summary = row.summary
        entries.append(
            {
                "run": row.number,
                "status": row.status,
                **{k: v for k, v in row.differing.items() if k not in _OWN_COLUMNS},
                "method": row.method or row.differing.get("method", ""),
                "seed": row.seed or row.differing.get("run.seed", ""),
                **{name: summary.get(name, "") for name in ("headline", "steps", "seconds")},
                **summary.get("metrics", {}),
                "folder": row.folder,
                "reason": row.reason,
            }
        )
    names = list(dict.fromkeys(name for entry in entries for name in entry))
    last = ["folder", "reason"]
    file = io.StringIO()
    columns = [*(n for n in names if n not in last), *last]
    writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(entries)
    return file.getvalue()


def _show(rows: Sequence[Row]) -> None:
    # Help and --info import this module, and print no table.
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    keys = dict.fromkeys(k for row in rows for k in row.differing if k not in _OWN_COLUMNS)
    figures = dict.fromkeys(name for row in rows for name in row.figures)
    lines = [_cells(row, keys, figures) for row in rows]
    names = [name for name in lines[0] if any(line[name] for line in lines)]
    table = Table(title="The runs of this sweep", title_justify="left", box=SIMPLE)
    for name in names:
        table.add_column(Text(name.rpartition(".")[2]), overflow="fold")
    for line in lines:
        table.add_row(*(Text(line[name]) for name in names))
    console = Console()
    console.print(table)
    for row in rows:
        if row.reason:
            console.print(Text(f"run {row.number} {row.status}: {row.reason}"), soft_wrap=True)


def _cells(row: Row, keys: Iterable[str], figures: Iterable[str]) -> dict[str, str]:
    """What the table has of a run, by column."""
    found = {name: row.figures.get(name) for name in figures}
    shown = {name: "" if value is None else f"{value:.3f}" for name, value in found.items()}
    return {
        "run": str(row.number),
        **{key: row.differing.get(key, "") for key in keys},
        "method": row.method or row.differing.get("method", ""),
        "seed": row.seed or row.differing.get("run.seed", ""),
        **shown,
        "status": "" if row.status == "finished" else row.status,
        "folder": Path(row.folder).name,
    }
