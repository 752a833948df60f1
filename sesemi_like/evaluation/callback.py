"""Runs the evaluators: gathers what validation and testing predict, and logs what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from ..distributed import gather_objects
from ..schedulers.durations import steps_of_run
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
        """Has the last step validated, wherever in an epoch and between validations it is."""
        most = steps_of_run(trainer)
        if most is not None and trainer.global_step >= most:
            trainer.should_stop = True

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, *_: Any
    ) -> None:
        """Keeps what was predicted."""
        self._batches.append(self._needed(outputs))

    def on_test_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        """Keeps what was predicted."""
        self._batches.append(self._needed(outputs))

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
            outputs: What the evaluated forwards answer to a few samples.

        Returns:
            The names, or None where an evaluator does not work on so few.
        """
        answer = next(iter(outputs.values()))
        rows = torch.arange(len(next(iter(answer.values()))))
        few = self._needed({"target": torch.zeros_like(rows), "index": rows, **outputs})
        try:
            found = [
                v for e in self.evaluators.values() for v in e.evaluate(lambda _: few, {"val": few})
            ]
        except Exception:  # whatever an evaluator needs that is not here
            return None
        return {f"val/{name}" for name, value in found if torch.as_tensor(value).ndim == 0}

    def _evaluate(
        self, split: str, evaluators: list[Evaluator], trainer: pl.Trainer, pl_module: Any
    ) -> None:
        batches, self._batches = self._batches, []
        predicted = _gathered(batches)
        if predicted is None:
            return
        data = {split: _unique(predicted)}

        def predict(name: str) -> Predictions:
            return self._predicted(name, trainer, pl_module)

        found = {
            f"{split}/{name}": value
            for evaluator in evaluators
            for name, value in evaluator.evaluate(predict, data)
        }
        self.last |= found
        self.origins |= {name: _origin(name, data[split], trainer.global_step) for name in found}
        scalars = {n: float(v) for n, v in found.items() if torch.as_tensor(v).ndim == 0}
        pl_module.log_dict(scalars, rank_zero_only=False, sync_dist=False)

    def _predicted(self, name: str, trainer: pl.Trainer, pl_module: Any) -> Predictions:
        """Predicts a train loader's data, un-augmented, on this process alone."""
        module: Any = trainer.datamodule  # type: ignore[attr-defined]
        batches = []
        for batch in module.evaluation_loader(name):
            moved = {field: value.to(pl_module.device) for field, value in batch.items()}
            with trainer.precision_plugin.forward_context():
                answer = pl_module.predict_batch(moved)
            given = {key: batch[key] for key in ("target", "index")}
            batches.append(self._needed({**given, **answer}))
        return _unique(_joined(batches))

    def _needed(self, outputs: Outputs) -> Predictions:
        """Keeps the tensors that some evaluator reads."""
        needs = {name for evaluator in self.evaluators.values() for name in evaluator.needs}
        networks = {k: v for k, v in outputs.items() if k not in ("target", "index")}
        kept = {
            network: {key: value.float().cpu() for key, value in answer.items() if key in needs}
            for network, answer in networks.items()
        }
        return Predictions(outputs["target"].cpu(), outputs["index"].cpu(), kept)


def _origin(name: str, predictions: Predictions, step: int) -> Origin:
    """A value without the name of a network in its own is of the last one, the headline."""
    network = name.split("/")[1]
    if network not in predictions.outputs:
        network = list(predictions.outputs)[-1]
    return Origin(network, step, int((predictions.target >= 0).sum()))


def _joined(batches: list[Predictions]) -> Predictions:
    outputs = {
        network: {
            key: torch.cat([batch.outputs[network][key] for batch in batches]) for key in answer
        }
        for network, answer in batches[0].outputs.items()
    }
    target, index = (torch.cat([getattr(b, key) for b in batches]) for key in ("target", "index"))
    return Predictions(target, index, outputs)


def _gathered(batches: list[Predictions]) -> Predictions | None:
    """The predictions of all processes, on every process; one without batches asks as well."""
    parts = [part for part in gather_objects(_joined(batches) if batches else None) if part]
    return _joined(parts) if len(parts) > 1 else next(iter(parts), None)


def _unique(predictions: Predictions) -> Predictions:
    """Sorts by index and drops the samples that fill up a process's share."""
    index, order = torch.sort(predictions.index, stable=True)
    first = torch.ones_like(index, dtype=torch.bool)
    first[1:] = index[1:] != index[:-1]
    rows: Tensor = order[first]
    outputs = {n: {k: v[rows] for k, v in out.items()} for n, out in predictions.outputs.items()}
    return Predictions(predictions.target[rows], predictions.index[rows], outputs)
