"""The folder of a run, and the loggers that write into it."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Sequence
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only


def make_run_folder(
    parent: str, run_id: str, label: str = "", *, time: datetime | None = None
) -> Path:
    """Makes the folder ``parent/run_id/<time>``, with -2, -3, ... added where it is taken.

    Args:
        parent: `run.dir`.
        run_id: `run.id`.
        label: What distinguishes the run from the others of its sweep; it follows the time.
        time: When the run started; None is now.
    """
    stamp = (time or datetime.now()).strftime("%Y-%m-%d_%H-%M-%S") + (f"_{label}" if label else "")
    for number in count(1):
        folder = Path(parent) / run_id / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError("count() does not end")


def metrics_loggers(
    folder: Path, *, from_step: int | None = None, tags: Sequence[str] = ()
) -> list[Logger]:
    """TensorBoard's events in ``tensorboard/`` and a table of all metrics in ``metrics.csv``.

    Args:
        folder: The run's folder.
        from_step: The steps made so far of a run that goes on in its folder: what was logged of
            later ones is left out, since they are made again. None begins anew.
        tags: The run's tags, which TensorBoard shows as a text.
    """
    table = CSVLogger(folder, name="", version="")
    kept = _rows_before(folder / "metrics.csv", from_step or 0)
    with warnings.catch_warnings():  # Lightning warns of a folder that is not empty
        warnings.simplefilter("ignore")
        _ = table.experiment
    for row in kept or []:
        table.log_metrics(row, step=int(row["step"]))
    table.save()
    purging: dict[str, Any] = {} if from_step is None else {"purge_step": from_step}
    events = TensorBoardLogger(
        folder, name="tensorboard", version="", default_hp_metric=False, **purging
    )
    if tags and from_step is None:
        events.experiment.add_text("tags", ", ".join(tags))
    return [events, table]


@rank_zero_only
def _rows_before(table: Path, step: int) -> list[dict[str, Any]]:
    """The rows of a table of metrics up to a step, with the values that each has."""
    if not step or not table.is_file():
        return []
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{n: v for n, v in row.items() if v} for row in rows if int(row["step"]) < step]
