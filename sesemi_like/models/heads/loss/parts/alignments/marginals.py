"""Which classes a teacher should predict how often: uniform, as labeled, given, or counted.

Shapes: M labeled rows, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from ......config.facts import DataFacts
from .....networks import Networks
from ..averages import RunningAverage
from ..base import Part, Reads
from ..prediction import Prediction
from ..settings import one_of

Target = str | Sequence[float]
"""``uniform``, ``labelled``, ``counts``, or C numbers that are proportional to the frequencies."""


class Marginal(Part):
    """The frequencies of the classes that predictions are aligned to.

    Args:
        target: ``uniform`` is 1/C; ``labelled`` the running average of what is predicted for rows
            that have a label, 1/C at first (AdaMatch, arXiv 2106.04732); ``counts`` the share of
            each class among the labels (ReMixMatch, arXiv 1911.09785); or one number, zero or more,
            per class.
        momentum: That of the running average.

    Raises:
        ValueError: If there is no such target, or the numbers are negative or all zero.
    """

    _given: Tensor | None

    def __init__(self, target: Target = "uniform", momentum: float = 0.999) -> None:
        super().__init__()
        self.target = target
        if isinstance(target, str):
            one_of("target", target, ("uniform", "labelled", "counts"))
            self.register_buffer("_given", None, persistent=False)
        else:
            # The config holds the numbers, so checkpoints need not.
            self.register_buffer("_given", _shares(list(target)), persistent=False)
        self.labelled = RunningAverage(momentum, "uniform")
        if target == "labelled":
            self.needs = ("labelled", "target")

    def build(self, networks: Networks, facts: DataFacts, reads: Reads) -> None:
        """Learns the number of classes, and counts labels.

        Raises:
            ValueError: If there are not as many numbers as classes.
            ConfigError: If labels are to be counted, and the data's are not known.
        """
        size = networks.num_classes(reads.network)
        if self.target == "labelled":
            self.labelled.build(size)
        elif self.target == "uniform":
            self._given = torch.full((size,), 1 / size)
        elif self.target == "counts":
            counts = facts.labels_by_class(reads.labelled_data)
            self._given = _shares([*counts, *[0] * (size - len(counts))])
        if self._given is not None and len(self._given) != size:
            raise ValueError(f"target: found {len(self._given)} numbers for {size} classes")

    def update(self, prediction: Prediction) -> None:
        """Moves the running average by the rows that have a label."""
        if self.target == "labelled":
            logits, target = cast(Tensor, prediction.labelled), cast(Tensor, prediction.target)
            self.labelled.update(logits.softmax(dim=1), target >= 0)

    def forward(self) -> Tensor:
        """The frequencies (C,), which add up to 1."""
        return self.labelled.value if self._given is None else self._given


def _shares(numbers: Sequence[float]) -> Tensor:
    if min(numbers, default=0) < 0 or sum(numbers) <= 0:
        raise ValueError(f"target: found {list(numbers)}; needs numbers of 0 or more, not all 0")
    shares = torch.tensor(numbers).float()
    return shares / shares.sum()


def checked_eps(eps: float) -> float:
    """Returns what is added to frequencies before they are divided.

    Raises:
        ValueError: If it is not above 0: what is never predicted has a logarithm of no number.
    """
    if eps <= 0:
        raise ValueError(f"eps: found {eps}; needs a number above 0")
    return eps


def log_ratio(target: Tensor, found: Tensor, eps: float) -> Tensor:
    """``log((target + eps) / (found + eps))`` for every class (C,): what logits are moved by."""
    return ((target + eps) / (found + eps)).log()
