"""Keeps what libraries say to their developers off the terminal of a person who runs this."""

from __future__ import annotations

import logging
import warnings

_SAYINGS = (
    # Lightning hands torch a type that torch has renamed.
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    # The run's folder holds the config and the label list before the first metrics.
    r"Experiment logs directory .* exists and is not empty",
    # The EMA teacher and frozen backbones stay in eval mode on purpose.
    r"Found \d+ module\(s\) in eval mode at the start of training",
    # A step of several heads may run on few batches; metrics are logged by step all the same.
    r"The number of training batches \(\d+\) is smaller than the logging interval",
    # Loaders have as many workers as their config says.
    r"The '\w+_dataloader' does not have many workers",
    r"This DataLoader will create \d+ worker processes in total",
    # A run without a val or test loader has an empty list of them.
    r"Total length of `list` across ranks is zero",
    # Evaluators see the predictions of all processes, so their values need no averaging.
    r"It is recommended to use `self\.log\(.*sync_dist=True",
    # Right after resuming nothing has been validated yet.
    r"`ModelCheckpoint\(monitor=.*\)` could not find the monitored key in the returned metrics: "
    r"\['epoch', 'step'\]",
    # A resumed run writes into a new folder; its best checkpoint is carried over.
    r"The dirpath has changed from",
)


def quiet_libraries() -> None:
    """Hides Lightning's tips and notices, and warnings that do not apply here.

    Its warnings and errors are shown, unless they are among those named in this module.
    """
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for saying in _SAYINGS:
        warnings.filterwarnings("ignore", message=f".*{saying}")
