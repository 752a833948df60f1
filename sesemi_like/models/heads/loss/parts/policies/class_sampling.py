"""Rows are kept at random, with the rate of the class that is predicted.

Shapes: N unlabeled rows, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ......config.facts import DataFacts
from .....networks import Networks
from ...base import Step
from ..base import Reads
from ..prediction import Prediction
from .base import Policy

Schedule = Callable[[int], float]


class ClassSamplingPolicy(Policy):
    """Keeps a row with the rate of its predicted class, so that rare classes are not outnumbered.

    Lee et al., "ABC: auxiliary balanced classifier for class-imbalanced semi-supervised learning",
    2021, arXiv 2110.10368, section 3.3. With r_c = min_k n_k / n_c over the labels n_c of each
    class, c the class that is predicted and a share a that grows from 0 to 1 over the run::

        weight = 1 with probability 1 - a (1 - r_c), else 0

    Where rows have no draws, as others that a term judges, the weight is that probability.

    Args:
        rates: r, one number in [0, 1] per class; null counts the labels, and a class without any
            has the rate 1.
        ramp: a, a callable step -> number in [0, 1], such as
            ``LinearSchedule(duration="100%", max_iterations=...)``; null is 1 throughout.

    Raises:
        ValueError: If a rate is outside [0, 1], or there are not as many as classes.
    """

    needs = ("uniform",)
    rates: Tensor
    share: Tensor

    def __init__(self, rates: Sequence[float] | None = None, ramp: Schedule | None = None) -> None:
        super().__init__()
        given = None if rates is None else [*rates]
        if given is not None and not all(0 <= rate <= 1 for rate in given):
            raise ValueError(f"rates: found {given}; needs numbers in [0, 1]")
        self._given, self._ramp = given, ramp

    def build(self, networks: Networks, facts: DataFacts, reads: Reads) -> None:
        """Counts the labels of each class.

        Raises:
            ValueError: If there are not as many rates as classes.
            ConfigError: If no rates are given and the labels are not known.
        """
        size = networks.num_classes(reads.network)
        rates = self._given
        if rates is None:
            counts = facts.labels_by_class(reads.labelled_data)
            least = min((count for count in counts if count), default=1)
            rates = [least / count if count else 1.0 for count in counts]
            rates += [1.0] * (size - len(rates))
        if len(rates) != size:
            raise ValueError(f"rates: found {len(rates)} numbers for {size} classes")
        # The config or the data have the rates, so checkpoints need not.
        self.register_buffer("rates", torch.tensor(rates).float(), persistent=False)
        share = 1.0 if self._ramp is None else self._ramp(0)
        self.register_buffer("share", torch.tensor(float(share)))

    def forward(self, prediction: Prediction) -> Tensor:
        """Weighs every row (N,)."""
        dtype = prediction.logits.dtype
        rates = (1 - self.share * (1 - self.rates))[prediction.classes].to(dtype)
        if prediction.uniform is None:
            return rates
        return (prediction.uniform < rates).to(dtype)

    def after_step(self, step: Step) -> None:
        """Moves the share to that of the next step."""
        if self._ramp is not None:
            self.share.fill_(self._ramp(step.index + 1))
