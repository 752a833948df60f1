"""What cannot be predicted or written, found on the first samples."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from torch import Tensor

from ...data import DataModule
from ...data.loading.keys import PREDICT
from ...data.samples import Samples
from ...errors import ConfigError, ConfigProblem
from ...learners import Learner
from ...learners.predicted import Columns, Labelled, column_problems
from .predict import chooser

_KEY = "run.predict"


def writing_problems(
    learner: Learner, data: DataModule, settings: dict[str, Any]
) -> Iterator[ConfigProblem]:
    """Predicts two samples of `data.predict`, and finds what of them cannot be written.

    Args:
        learner: The learner, whose forwards have been tried on these samples.
        data: The data of the run.
        settings: The section `run.predict`.
    """
    if PREDICT not in data.loaders:
        return
    loader = data.loaders[PREDICT]
    if not isinstance(loader.dataset, Samples):
        expected = "streams are read in an order of their own; give data with random access"
        yield ConfigProblem("data.predict.dataset", loader.config["dataset"].get("name"), expected)
        return
    if settings["format"] == "parquet" and find_spec("pyarrow") is None:
        expected = "needs pyarrow: python -m pip install 'sesemi-like[parquet]'"
        yield ConfigProblem(f"{_KEY}.format", "parquet", expected)
    try:
        columns = _sample_columns(learner, loader.sample_batch, settings["outputs"])
    except ConfigError as error:
        yield from error.problems
        return
    yield from column_problems(columns, len(loader.sample_batch["index"]))
    if settings["format"] == "npy":
        yield from _array_problems(columns)


def _sample_columns(learner: Learner, batch: Any, chosen: list[str] | None) -> Columns:
    was_training = learner.training
    learner.eval()
    try:
        return chooser(learner, chosen)(learner.predict_batch(batch))
    finally:
        learner.train(was_training)


def _array_problems(columns: Columns) -> Iterator[ConfigProblem]:
    """Columns of lists that are no text have no array."""
    for name, column in columns.items():
        is_array = isinstance(column, Tensor | Labelled)
        if not is_array and not all(isinstance(value, str) for value in column):
            expected = f"output {name!r} has a list or mapping a row; csv and parquet hold such"
            yield ConfigProblem(f"{_KEY}.format", "npy", expected)
