"""Hides messages of libraries that do not apply to the runs of this package."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from lightning_fabric.utilities.warnings import PossibleUserWarning

_LOGGERS = ("pytorch_lightning", "lightning_fabric")

HIDDEN: tuple[tuple[type[Warning], str], ...] = (
    # The EMA teacher and frozen backbones stay in evaluation mode on purpose, and an epoch may have
    # fewer batches than steps lie between two logged ones.
    (PossibleUserWarning, "pytorch_lightning.loops.fit_loop"),
    # Loaders have as many workers as their config says.
    (PossibleUserWarning, "pytorch_lightning.trainer.connectors.data_connector"),
    # Evaluators see the predictions of all processes, so their values need no averaging.
    (PossibleUserWarning, "pytorch_lightning.trainer.connectors.logger_connector.result"),
    # Lightning uses a class of torch that torch has renamed.
    (FutureWarning, "pytorch_lightning.utilities._pytree"),
)
"""Categories of warnings, and the modules of Lightning that send those which are hidden."""

HIDDEN_TEXTS = (
    # After resuming nothing has been validated yet; a metric that is missing among others is shown.
    r"`ModelCheckpoint\(monitor=.*\)` could not find the monitored key in the returned metrics: "
    r"\['epoch', 'step'\]",
    # Loaders have as many workers as their config says; torch's other warnings of them are shown.
    r"This DataLoader will create \d+ worker processes in total",
)
"""Beginnings of warnings whose category and module also send others that are to be shown."""


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Hides Lightning's tips, notices and those of its warnings that may be false and are, here.

    All other warnings and all errors are shown.
    """
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    with warnings.catch_warnings():
        for category, module in HIDDEN:
            warnings.filterwarnings("ignore", category=category, module=f"{module}$")
        for text in HIDDEN_TEXTS:
            warnings.filterwarnings("ignore", text, UserWarning)
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
