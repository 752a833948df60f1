"""The confusion matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from ..predictions import Predictions
from .base import Evaluator, Predict, Value


class ConfusionMatrix(Evaluator):
    """Counts samples by true class (rows) and predicted class (columns) for the headline network.

    Yields ``confusion``, an int64 tensor (C, C).
    """

    needs = ("logits", "target")

    def evaluate(
        self, predict: Predict, data: Mapping[str, Predictions]
    ) -> Iterator[tuple[str, Value]]:
        """Counts the labeled samples."""
        for predictions in data.values():
            labeled = predictions.labeled()
            logits = list(labeled.of("logits").values())[-1]
            classes = logits.shape[1]
            cells = labeled.labels * classes + logits.argmax(dim=1)
            counts = torch.bincount(cells, minlength=classes * classes)
            yield "confusion", counts.reshape(classes, classes)
