"""The folder of a run, and the loggers that write into it."""

from __future__ import annotations

from datetime import datetime
from itertools import count
from pathlib import Path

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger


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


def metrics_loggers(folder: Path) -> list[Logger]:
    """TensorBoard's events in ``tensorboard/`` and a table of all metrics in ``metrics.csv``.

    Args:
        folder: The run's folder; nothing has been written to it yet.
    """
    table = CSVLogger(folder, name="", version="")
    _ = table.experiment  # opened now, since it warns of a folder that is not empty
    return [
        TensorBoardLogger(folder, name="tensorboard", version="", default_hp_metric=False),
        table,
    ]
