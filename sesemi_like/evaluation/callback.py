"""Runs the evaluators: gathers the predictions of validation and testing and logs the values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch

from ..distributed import gather_objects
from ..schedulers.durations import steps_of_run
from ..trees import to_device
from .accuracy import Accuracy
from .base import Evaluator, Predictions, Value
from .confusion import ConfusionMatrix

Outputs = Mapping[str, Any]


def default_evaluators() -> dict[str, Evaluator]:
    """What is measured when the config names nothing: accuracy and the confusion matrix."""
    return {"accuracy": Accuracy(), "confusion": ConfusionMatrix()}


@dataclass(frozen=True)
class Origin:
    """What a value was measured on.

    Attributes:
        network: The evaluated network, such as ``model`` or ``ema``.
        step: The steps that the weights had been trained for in this run.
        images: The labeled samples it was measured on.
    """

    network: str
    step: int
    images: int


class Evaluation(pl.Callback):
    """Feeds every evaluator and logs its values as ``val/<name>`` or ``test/<name>``.

    Predictions are gathered over all processes and each sample counts once, so the figures are
    exact on any number of devices.

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

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, *_: Any
    ) -> None:
        """Keeps what was predicted."""
        self._batches.append(self._select(outputs))

    def on_test_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        """Keeps what was predicted."""
        self._batches.append(self._select(outputs))

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Evaluates, unless Lightning only tried whether validation runs."""
        if trainer.sanity_checking:
            self._batches = []
            return
        self._validations += 1
        due = [e for e in self.evaluators.values() if (self._validations - 1) % e.every == 0]
        self._evaluate("val", due, trainer, pl_module)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Evaluates."""
        self._evaluate("test", list(self.evaluators.values()), trainer, pl_module)

    def state_dict(self) -> dict[str, int]:
        """How many validations there were, so that `every` goes on where it stopped."""
        return {"validations": self._validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a checkpoint's count."""
        self._validations = state_dict["validations"]

    def names(self, outputs: Outputs) -> set[str] | None:
        """The names of the numbers that a validation would log.

        Args:
            outputs: The outputs of the evaluated forwards for a few samples.

        Returns:
            The names, or None where an evaluator does not work on so few.
        """
        tensors = next(iter(outputs.values()))
        rows = torch.arange(len(next(iter(tensors.values()))))
        few = self._select({"target": torch.zeros_like(rows), "index": rows, **outputs})
        try:
            values = [
                v for e in self.evaluators.values() for v in e.evaluate(lambda _: few, {"val": few})
            ]
        except Exception:  # an evaluator may need more than these few samples
            return None
        return {f"val/{name}" for name, value in values if torch.as_tensor(value).ndim == 0}

    def _evaluate(
        self, split: str, evaluators: list[Evaluator], trainer: pl.Trainer, pl_module: Any
    ) -> None:
        batches, self._batches = self._batches, []
        predictions = _gather(batches)
        if predictions is None:
            return
        data = {split: predictions.deduplicate()}

        def predict(name: str) -> Predictions:
            return self._predict(name, trainer, pl_module)

        values = {
            f"{split}/{name}": value
            for evaluator in evaluators
            for name, value in evaluator.evaluate(predict, data)
        }
        self.last |= values
        self.origins |= {name: _origin(name, data[split], trainer.global_step) for name in values}
        scalars = {n: float(v) for n, v in values.items() if torch.as_tensor(v).ndim == 0}
        pl_module.log_dict(scalars, rank_zero_only=False, sync_dist=False)

    def _predict(self, name: str, trainer: pl.Trainer, pl_module: Any) -> Predictions:
        """Predicts a train loader's data, un-augmented, on this process alone."""
        module: Any = trainer.datamodule  # type: ignore[attr-defined]
        batches = []
        for batch in module.evaluation_loader(name):
            on_device = to_device(batch, pl_module.device)
            predicted = pl_module.through_strategy(pl_module.predict_batch, on_device)
            given = {key: batch[key] for key in ("target", "index")}
            batches.append(self._select({**given, **predicted}))
        return Predictions.concatenate(batches).deduplicate()

    def _select(self, outputs: Outputs) -> Predictions:
        """Keeps the tensors that some evaluator reads."""
        needs = {name for evaluator in self.evaluators.values() for name in evaluator.needs}
        networks = {k: v for k, v in outputs.items() if k not in ("target", "index")}
        kept = {
            network: {key: value.float().cpu() for key, value in tensors.items() if key in needs}
            for network, tensors in networks.items()
        }
        return Predictions(outputs["target"].cpu(), outputs["index"].cpu(), kept)


def _origin(name: str, predictions: Predictions, step: int) -> Origin:
    """A value without the name of a network in its own is of the last one, the headline."""
    network = name.split("/")[1]
    if network not in predictions.outputs:
        network = list(predictions.outputs)[-1]
    return Origin(network, step, int((predictions.target >= 0).sum()))


def _gather(batches: list[Predictions]) -> Predictions | None:
    """Gathers the predictions of all processes, on every process; all of them must call it."""
    parts = [
        part
        for part in gather_objects(Predictions.concatenate(batches) if batches else None)
        if part
    ]
    return Predictions.concatenate(parts) if len(parts) > 1 else next(iter(parts), None)
