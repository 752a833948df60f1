"""The contract of an evaluator: from predictions to named values.

Shapes: N samples, C classes, D features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Value = Tensor | float


@dataclass(frozen=True)
class Predictions:
    """What was predicted for samples of a data set, on the CPU.

    Attributes:
        target: Class indices (N,), int64, -1 without a label.
        index: Positions in the data set (N,), int64.
        outputs: The outputs of each evaluated network, headline last:
            ``{"model": {"logits": (N, C), "features": (N, D)}, "ema": {...}}``; only the tensors
            that some evaluator needs.
    """

    target: Tensor
    index: Tensor
    outputs: Mapping[str, Mapping[str, Tensor]]

    @classmethod
    def concatenate(cls, parts: Sequence[Predictions]) -> Predictions:
        """Concatenates predictions of the same networks, at least one."""
        outputs = {
            network: {
                key: torch.cat([part.outputs[network][key] for part in parts]) for key in tensors
            }
            for network, tensors in parts[0].outputs.items()
        }
        target = torch.cat([part.target for part in parts])
        return cls(target, torch.cat([part.index for part in parts]), outputs)

    def select(self, rows: Tensor) -> Predictions:
        """Selects samples: bool (N,) or positions, int64."""
        outputs = {n: {k: v[rows] for k, v in out.items()} for n, out in self.outputs.items()}
        return Predictions(self.target[rows], self.index[rows], outputs)

    def labeled(self) -> Predictions:
        """Selects the samples that have a label."""
        return self.select(self.target >= 0)

    def deduplicate(self) -> Predictions:
        """Sorts by index and keeps each sample once: processes repeat some to have equally many."""
        index, order = torch.sort(self.index, stable=True)
        is_first = torch.ones_like(index, dtype=torch.bool)
        is_first[1:] = index[1:] != index[:-1]
        return self.select(order[is_first])


Predict = Callable[[str], Predictions]
"""Predicts the data of a named loader of training or evaluation."""


class Evaluator(ABC):
    """Turns predictions into named values.

    Attributes:
        needs: The outputs it reads, such as ``("logits",)``.
        reads: The loaders whose data it has predicted, of training or of evaluation.
        every: Validations from one evaluation to the next; a test is always evaluated.
        on: What it is run on: val | test | both.
    """

    needs: tuple[str, ...] = ("logits",)
    reads: tuple[str, ...] = ()

    def __init__(self, every: int = 1, on: str = "both") -> None:
        if every < 1:
            raise ValueError(f"every: found {every}; must be at least 1")
        if on not in ("val", "test", "both"):
            raise ValueError(f"on: found {on!r}; must be val, test or both")
        self.every, self.on = every, on

    def is_run_on(self, split: str) -> bool:
        """Whether it is run on ``val`` or ``test``."""
        return self.on in (split, "both")

    @abstractmethod
    def evaluate(
        self, predict: Predict, data: Mapping[str, Predictions]
    ) -> Iterator[tuple[str, Value]]:
        """Evaluates.

        Args:
            predict: Predicts the data of a named loader of training or evaluation.
            data: The predictions of this evaluation, under ``val`` or ``test``.

        Yields:
            Names and values; scalars are logged, tensors of more dimensions are drawn.
        """
