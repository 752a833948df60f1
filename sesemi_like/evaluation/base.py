"""The contract of an evaluator: from predictions to named values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence

from torch import Tensor

from ..predictions import Predictions

Value = Tensor | float


Predict = Callable[[str], Predictions]
"""Predicts the data of a named loader of training or evaluation."""


class Evaluator(ABC):
    """Turns predictions into named values.

    Attributes:
        needs: The fields and outputs it reads, such as ``("logits", "target")``: an output of
            every request that answers it, ``ema.logits`` of one. What no evaluator needs that is
            due is not computed.
        reads: The loaders whose data it has predicted, of training or of evaluation.
        sets: The loaders of evaluation that it is run on as well; what it yields for `ood` is
            logged as ``val/ood/<name>``.
        every: Validations from one evaluation to the next; a test is always evaluated.
        on: What it is run on: val | test | both.
    """

    needs: tuple[str, ...] = ("logits",)
    reads: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    every: int = 1
    on: str = "both"

    def __init__(self, every: int = 1, on: str = "both", sets: Sequence[str] = ()) -> None:
        if every < 1:
            raise ValueError(f"every: found {every}; must be at least 1")
        if on not in ("val", "test", "both"):
            raise ValueError(f"on: found {on!r}; must be val, test or both")
        if isinstance(sets, str):
            raise ValueError(f"sets: found {sets!r}; needs a list of names, [{sets}]")
        self.every, self.on, self.sets = every, on, tuple(sets)

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
            data: The predictions of this evaluation, under ``val``, ``test`` or the name of a set.

        Yields:
            Names and values; scalars are logged, tensors of more dimensions are drawn.
        """


def data_key(name: str) -> str:
    """The config key of the data that an evaluator is run on.

    Args:
        name: ``val``, ``test`` or the name of a loader of evaluation.
    """
    return f"data.{name}" if name in ("val", "test") else f"data.evaluation.{name}"
