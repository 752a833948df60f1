"""Accuracy and loss of classifiers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor

from .base import Evaluator, Predict, Predictions, Value


class Accuracy(Evaluator):
    """The share of samples whose class is among the k most likely ones, and the cross-entropy.

    Yields ``model/top1``, ``model/loss`` and so on for every evaluated network, and once more
    without its name for the last one, which gives the headline figure.

    Args:
        top_k: The values of k; those above the number of classes are left out.
        loss: Whether the mean cross-entropy is measured too.
        every: Validations from one evaluation to the next.
    """

    def __init__(self, top_k: Sequence[int] = (1,), loss: bool = True, every: int = 1) -> None:
        super().__init__(every)
        self.top_k = tuple(top_k)
        self.loss = loss

    def evaluate(
        self, predict: Predict, data: Mapping[str, Predictions]
    ) -> Iterator[tuple[str, Value]]:
        """Measures every evaluated network on the labeled samples.

        Raises:
            ValueError: If no sample has a label.
        """
        for name, predictions in data.items():
            labeled = predictions.labeled()
            if not len(labeled.target):
                raise ValueError(f"data.{name} has no labeled sample; accuracy needs some")
            for network, values in self._values(labeled).items():
                for metric, value in values.items():
                    yield f"{network}/{metric}", value
            yield from values.items()

    def _values(self, labeled: Predictions) -> dict[str, dict[str, float]]:
        return {
            network: self._measure(outputs, labeled) for network, outputs in labeled.outputs.items()
        }

    def _measure(self, outputs: Mapping[str, Tensor], labeled: Predictions) -> dict[str, float]:
        logits, target = outputs["logits"], labeled.target
        values = {}
        for k in self.top_k:
            if k <= logits.shape[1]:
                hits = (logits.topk(k, dim=1).indices == target[:, None]).any(dim=1)
                values[f"top{k}"] = float(hits.double().mean())
        if self.loss:
            values["loss"] = float(F.cross_entropy(logits, target))
        return values
