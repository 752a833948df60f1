"""The contract of an evaluator: from predictions to named values.

Shapes: N samples, C classes, D features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

Value = Tensor | float


@dataclass(frozen=True)
class Predictions:
    """What was predicted for a data set, on the CPU, each sample once, sorted by index.

    Attributes:
        target: Class indices (N,), int64, -1 without a label.
        index: Positions in the data set (N,), int64.
        outputs: What each evaluated network answered, headline last:
            ``{"model": {"logits": (N, C), "features": (N, D)}, "ema": {...}}``; only the tensors
            that some evaluator needs.
    """

    target: Tensor
    index: Tensor
    outputs: Mapping[str, Mapping[str, Tensor]]

    def labeled(self) -> Predictions:
        """The same without the samples that have no label."""
        rows = self.target >= 0
        outputs = {n: {k: v[rows] for k, v in out.items()} for n, out in self.outputs.items()}
        return Predictions(self.target[rows], self.index[rows], outputs)


Predict = Callable[[str], Predictions]
"""Predicts the data of a named train loader."""


class Evaluator(ABC):
    """Turns predictions into named values.

    Attributes:
        needs: The outputs it reads, such as ``("logits",)``.
        reads: The train loaders whose data it has predicted.
        every: Validations from one evaluation to the next; a test is always evaluated.
    """

    needs: tuple[str, ...] = ("logits",)
    reads: tuple[str, ...] = ()

    def __init__(self, every: int = 1) -> None:
        if every < 1:
            raise ValueError(f"every: found {every}; must be at least 1")
        self.every = every

    @abstractmethod
    def evaluate(
        self, predict: Predict, data: Mapping[str, Predictions]
    ) -> Iterator[tuple[str, Value]]:
        """Evaluates.

        Args:
            predict: Predicts the data of a named train loader.
            data: The predictions of this evaluation, under ``val`` or ``test``.

        Yields:
            Names and values; scalars are logged, tensors of more dimensions are drawn.
        """
