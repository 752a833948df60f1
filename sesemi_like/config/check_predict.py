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
_ALL = "leaves rows out, and predictions are of all; data.predict.dataset.num_rows chooses some"


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
        is_reported = name == "repeat" and loader.repeat < 1  # as of any loader
        if loader.get(name) != default and not is_reported:
            expected = "every row is predicted once, in the order of the data; leave it out"
            yield ConfigProblem(f"data.predict.{name}", loader.get(name), expected)
    limit = OmegaConf.select(config, "trainer.limit_predict_batches")
    if limit is not None and not (isinstance(limit, float) and limit == 1):
        yield ConfigProblem("trainer.limit_predict_batches", limit, _ALL)
    tried = OmegaConf.select(config, "trainer.fast_dev_run")
    if tried and config.run.mode == "PREDICT":
        yield ConfigProblem("trainer.fast_dev_run", tried, _ALL)
