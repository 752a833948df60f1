"""The losses of the heads on evaluated data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from ..predictions import LOSSES, Predictions
from .base import Evaluator, Predict, Value


class Losses(Evaluator):
    """What the loss heads measure on data that are not trained on, weighted as in training.

    Yields ``<head>/loss`` for every head whose fields the data have, ``<head>/<term>`` of one that
    names several, and ``loss``, their weighted sum. They are exact over all samples: sums over
    sums, not means of batches. Heads are in evaluation mode, and their state stays as it is.

    Args:
        every: Validations from one evaluation to the next.
        on: val | test | both.
        sets: Loaders of evaluation that are measured likewise, under their names.
    """

    needs = (LOSSES,)

    def evaluate(
        self, predict: Predict, data: Mapping[str, Predictions]
    ) -> Iterator[tuple[str, Value]]:
        """Reduces the losses of every head."""
        for predictions in data.values():
            total = 0.0
            for head, terms in predictions.outputs.get(LOSSES, {}).items():
                value = sum(_reduce(rows, rows[:, 2]) for rows in terms.values())
                yield f"{head}/loss", value
                if set(terms) != {"loss"}:
                    yield from ((f"{head}/{name}", _reduce(rows)) for name, rows in terms.items())
                total += float(next(iter(terms.values()))[0, 3]) * value
            yield "loss", total


def _reduce(rows: Tensor, coefficients: Tensor | float = 1.0) -> float:
    """Reduces a term; zero where nothing counts, as in training.

    Args:
        rows: (N, 4): a sample's share of the sum and of its divisor, coefficient, weight.
        coefficients: What each share of the sum is multiplied by, (N,) or a number.
    """
    divisor = float(rows[:, 1].sum())
    return float((rows[:, 0] * coefficients).sum()) / divisor if divisor else 0.0
