"""Accuracy and loss of classifiers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor

from ..predictions import Predictions
from .base import Evaluator, Predict, Value, data_key


class Accuracy(Evaluator):
    """The share of samples whose class is among the k most likely ones, and the cross-entropy.

    Yields ``model/top1``, ``model/loss`` and so on for every evaluated network, and once more
    without its name for the last one, which gives the headline figure.

    Args:
        top_k: The values of k; those above the number of classes are left out.
        loss: Whether the mean cross-entropy is measured too.
        every: Validations from one evaluation to the next.
        on: val | test | both.
        sets: Loaders of evaluation that are measured likewise, under their names.
    """

    needs = ("logits", "target")

    def __init__(
        self,
        top_k: Sequence[int] = (1,),
        loss: bool = True,
        every: int = 1,
        on: str = "both",
        sets: Sequence[str] = (),
    ) -> None:
        super().__init__(every, on, sets)
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
            if not len(labeled):
                raise ValueError(f"{data_key(name)} has no labeled sample; accuracy needs some")
            values: dict[str, float] = {}
            for network, logits in labeled.of("logits").items():
                values = self._measure(logits, labeled.labels)
                for metric, value in values.items():
                    yield f"{network}/{metric}", value
            yield from values.items()

    def _measure(self, logits: Tensor, target: Tensor) -> dict[str, float]:
        values = {}
        for k in self.top_k:
            if k <= logits.shape[1]:
                hits = (logits.topk(k, dim=1).indices == target[:, None]).any(dim=1)
                values[f"top{k}"] = float(hits.double().mean())
        if self.loss:
            values["loss"] = float(F.cross_entropy(logits, target))
        return values
