"""Checks of what is predicted, and of how it is written."""

from __future__ import annotations

from collections.abc import Iterator

from omegaconf import DictConfig, OmegaConf

from ..errors import ConfigProblem
from .choices import PREDICTION_FORMATS
from .rules import at_least, one_of

_ORDERS = {
    "shuffle": False,
    "sampler": None,
    "batch_sampler": None,
    "repeat": 1,
    "drop_last": False,
}
_LIMITS = ("limit_predict_batches", "fast_dev_run", "overfit_batches")


def prediction_problems(config: DictConfig) -> Iterator[ConfigProblem]:
    """Checks `run.predict` and `data.predict`.

    Args:
        config: A composed config.
    """
    predict, loader = config.run.predict, config.data.predict
    yield from one_of(predict, "run.predict", "format", PREDICTION_FORMATS)
    yield from at_least(predict, "run.predict", "rows_per_part", 1)
    if predict.outputs is not None and not len(predict.outputs):
        yield ConfigProblem("run.predict.outputs", "[]", "null takes what the learner names")
    if loader is None or loader.dataset is None:
        return
    for name, default in _ORDERS.items():
        if loader.get(name) != default:
            expected = "every row is predicted once, in the order of the data; leave it out"
            yield ConfigProblem(f"data.predict.{name}", loader.get(name), expected)
    for name in _LIMITS:
        value = OmegaConf.select(config, f"trainer.{name}")
        if value not in (None, False, 0, 0.0) and not (name == _LIMITS[0] and value == 1.0):
            expected = (
                "leaves rows out, and predictions are of all; use data.predict.dataset.num_rows"
            )
            yield ConfigProblem(f"trainer.{name}", value, expected)
