"""Runs the evaluators: gathers the predictions of validation and testing and logs the values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytorch_lightning as pl
import torch

from ..gathering import gather
from ..predictions import LOSSES, Predictions
from ..schedulers.durations import steps_of_run
from .base import Evaluator, Value


@dataclass(frozen=True)
class Origin:
    """What a value was measured on.

    Attributes:
        network: The evaluated network, such as ``model`` or ``ema``.
        step: The steps that the weights had been trained for in this run.
        images: The labeled samples it was measured on; all samples where they have no targets.
    """

    network: str
    step: int
    images: int


class Evaluation(pl.Callback):
    """Feeds every evaluator and logs its values as ``val/<name>`` or ``test/<name>``.

    Predictions are gathered over all processes and each sample counts once, so the figures are
    exact on any number of devices. What no evaluator reads that is due is not predicted.

    Args:
        evaluators: The evaluators by name.

    Attributes:
        last: The newest values by full name, tensors included.
        origins: What each of them was measured on.
    """

    def __init__(self, evaluators: Mapping[str, Evaluator]) -> None:
        self.evaluators = dict(evaluators)
        self.last: dict[str, Value] = {}
        self.origins: dict[str, Origin] = {}
        self._batches: list[Predictions] = []
        self._validations = 0

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Ends training at the last step, so that it is validated wherever in an epoch it is."""
        max_steps = steps_of_run(trainer)
        if max_steps is not None and trainer.global_step >= max_steps:
            trainer.should_stop = True

    def on_validation_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Tells the learner what is read of its predictions."""
        pl_module.needs = needs_of(self._due("val"))

    def on_test_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Tells the learner what is read of its predictions."""
        pl_module.needs = needs_of(self._due("test"))

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, *_: Any
    ) -> None:
        """Keeps what was predicted."""
        self._batches.append(outputs["predictions"])

    def on_test_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        """Keeps what was predicted."""
        self._batches.append(outputs["predictions"])

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Evaluates, unless Lightning only tried whether validation runs."""
        if trainer.sanity_checking:
            self._batches = []
            return
        due = self._due("val")
        self._validations += 1
        self._evaluate("val", due, trainer, pl_module)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Evaluates."""
        self._evaluate("test", self._due("test"), trainer, pl_module)

    def state_dict(self) -> dict[str, int]:
        """How many validations there were, so that `every` goes on where it stopped."""
        return {"validations": self._validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a checkpoint's count."""
        self._validations = state_dict["validations"]

    def names(self, few: Predictions) -> set[str] | None:
        """The names of the numbers that a validation would log.

        Args:
            few: The predictions of a few samples, see :func:`needs_of`.

        Returns:
            The names, or None where an evaluator does not work on so few.
        """
        few = replace(few, target=torch.zeros_like(few.index))  # they may have no label
        try:
            values = dict(_values("val", self._run_on("val"), lambda _: few))
        except Exception:  # an evaluator may need more than these few samples
            return None
        return {f"val/{name}" for name, value in values.items() if torch.as_tensor(value).ndim == 0}

    def _run_on(self, split: str) -> list[Evaluator]:
        return [e for e in self.evaluators.values() if e.is_run_on(split)]

    def _due(self, split: str) -> list[Evaluator]:
        every = self._run_on(split)
        return [e for e in every if split == "test" or self._validations % e.every == 0]

    def _evaluate(
        self, split: str, evaluators: list[Evaluator], trainer: pl.Trainer, pl_module: Any
    ) -> None:
        batches, self._batches = self._batches, []
        found = gather(Predictions.concatenate(batches) if batches else None, pl_module.device)
        if found is None:
            return
        data = {split: found.deduplicate()}

        def predict(name: str) -> Predictions:
            if name not in data:
                readers = [e for e in evaluators if name in (*e.reads, *e.sets)]
                data[name] = pl_module.predict_loader(name, needs_of(readers))
            return data[name]

        values = {f"{split}/{n}": value for n, value in _values(split, evaluators, predict)}
        self.last |= values
        self.origins |= {n: _origin(n, data, trainer.global_step) for n in values}
        scalars = {n: float(v) for n, v in values.items() if torch.as_tensor(v).ndim == 0}
        pl_module.log_dict(scalars, rank_zero_only=False, sync_dist=False)


def needs_of(evaluators: Iterable[Evaluator]) -> frozenset[str]:
    """The names of the fields and outputs that evaluators read."""
    return frozenset(name for evaluator in evaluators for name in evaluator.needs)


def _values(
    split: str, evaluators: Collection[Evaluator], predict: Any
) -> Iterable[tuple[str, Value]]:
    """The values of evaluators, those of further sets under the set's name."""
    for evaluator in evaluators:
        yield from evaluator.evaluate(predict, {split: predict(split)})
        for name in evaluator.sets:
            for value_name, value in evaluator.evaluate(predict, {name: predict(name)}):
                yield f"{name}/{value_name}", value


def _origin(name: str, data: Mapping[str, Predictions], step: int) -> Origin:
    """A value without the name of a network in its own is of the last one, the headline."""
    split, *parts = name.split("/")
    predictions = data[split]
    if parts[0] in data:  # it is of a further set
        predictions = data[parts.pop(0)]
    networks = predictions.networks or ["model"]
    network = parts[0] if parts[0] in networks else networks[-1]
    if parts[0] in predictions.outputs.get(LOSSES, ()):  # the loss of a head is not of a teacher
        network = networks[0]
    target = predictions.target
    count = len(predictions) if target is None else int((target >= 0).sum())
    return Origin(network, step, count)
