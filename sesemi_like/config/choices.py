"""The values that a key may have, for the checks and for the code that acts on them."""

from __future__ import annotations

from typing import Any

ACCELERATORS = ("dp", "ddp", None)
"""What `run.accelerator` takes; null chooses by the number of devices."""

PRECISIONS = ("auto", "32", "bf16", "16")
"""What `run.precision` takes."""

ON_NONFINITE = ("stop", "skip")
"""What `run.on_nonfinite` takes: what follows a training loss that is nan or infinite."""

PARTS = ("labelled", "unlabelled", "all")
"""What a data set's `part` takes: which side of the choice of labels is read."""

ON_ERROR = ("raise", "skip")
"""What a data set's `on_error` takes: what follows a sample that cannot be read."""

CACHE_KINDS = ("auto", "ram", "disk", "none")
"""What a data set's `cache` takes: where images are kept decoded."""

START_METHODS = ("fork", "spawn", "forkserver", None)
"""What `multiprocessing_context` takes: how a loader's workers are started."""

FORWARD_SETTINGS = ("auto", "separate", "joined", "together")
"""What a model's `forward` takes: whether rows for one network are stacked into one forward."""

ROWS_SETTINGS = ("auto", "on", "off")
"""What a model's `rows` takes: whether rows that weigh nothing are left out of a forward."""

REDUCTIONS = ("mean", "weighted_mean", "sum")
"""How the losses of a head become one number."""

EMA_KINDS = ("states", "parameters")
"""What the moving average averages: parameters and buffers, or parameters alone."""

EMA_MODES = ("eval", "train")
"""The mode of an averaged network while its source is trained."""

LR_INTERVALS = ("step", "epoch")
"""When a learning-rate schedule steps."""

PREDICTION_FORMATS = ("csv", "parquet", "npy")
"""What `run.predict.format` takes."""

REHEARSALS = ("full", "shapes", "none")
"""What `run.rehearse` takes: how a step is tried before training."""

RESUME = (None, "auto")
"""What `run.resume` takes."""

DIRECTIONS = ("min", "max")
"""Whether the lowest or the highest value of a figure is the best."""


def on_or_off(value: Any) -> Any:
    """The same value, with the words for true and false, as which YAML reads on and off."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value
