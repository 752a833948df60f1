"""A threshold on the loss of a pseudo-label, which falls in a geometric series.

Shapes: N unlabeled rows, M labeled rows, C classes.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ......config.facts import DataFacts
from ......schedulers.durations import Duration, parse, steps
from .....networks import Networks
from ...base import Step
from ..averages import mean_of_all
from ..base import Reads
from ..prediction import Prediction
from ..settings import one_of
from ..targets import HardTargets, SharpenedTargets
from .base import Policy

MEASURED = 0.1
"""The share of the warm-up, its end, over which the first threshold is measured."""


class LossPolicy(Policy):
    """Keeps the rows whose pseudo-label has a loss below a threshold that falls over the run.

    Xu et al., "Dash: semi-supervised learning with dynamic thresholding", 2021, arXiv 2109.00650,
    algorithm 1. During a warm-up no row counts. In the k-th interval after it, k = 1, 2, ..., ::

        rho = max(c gamma^-(k - 1) rho_hat, rho_min)
        weight = 1 if loss <= rho else 0

    rho_hat is the mean loss of the labeled rows over the last tenth of the warm-up, one step at
    least. Targets, where a head has none of its own, are sharpened, ``softmax(z / T)``, and hard
    from the moment that rho is rho_min.

    The authors' code differs: a row's loss is as here -log max p, but the threshold is not; rho_hat
    is the mean loss of the unlabeled rows (`estimate: unlabelled`; there on the strong view), all
    of which are learned from during the warm-up (`warmup_weight: 1`), and c is 1 / gamma. semilearn
    measures rho_hat on the test data, and a row's loss is that of the sharpened target
    (`loss: soft`).

    Args:
        warmup: How long only labels are learned from: steps, ``"10 epochs"``, ``"30%"`` or a share
            of the run; one step at least.
        interval: How long a threshold stays, in the same forms; one step at least.
        gamma: By how much each threshold is lower than that before it, at least 1.
        c: How much higher than rho_hat the first one is, above 0.
        rho_min: The lowest, above 0; 0.05 is a probability of 0.95.
        temperature: T of the targets while they are soft.
        estimate: What rho_hat is the mean loss of: ``labelled`` rows, by their classes, or
            ``unlabelled`` ones, by their soft targets; or rho_hat itself.
        loss: Of a row's prediction, the cross-entropy with its most likely class (``hard``) or its
            target (``soft``).
        warmup_weight: What rows weigh during the warm-up.
        iterations_per_epoch: Steps of an epoch, for durations in epochs.
        max_iterations: Steps of the run, for durations that are shares of it.

    Raises:
        ValueError: If a setting is out of its range; or, at the first call, a duration needs a
            number that is missing.
    """

    num_steps: Tensor
    total: Tensor
    count: Tensor

    def __init__(
        self,
        warmup: Duration = "1%",
        interval: Duration = "1%",
        gamma: float = 1.27,
        c: float = 1.0001,
        rho_min: float = 0.05,
        temperature: float = 0.5,
        estimate: Literal["labelled", "unlabelled"] | float = "labelled",
        loss: Literal["hard", "soft"] = "hard",
        warmup_weight: float = 0.0,
        *,
        iterations_per_epoch: int | None = None,
        max_iterations: int | None = None,
    ) -> None:
        super().__init__()
        for duration in (warmup, interval):
            parse(duration)
        bounds = {"gamma": (gamma, 1), "c": (c, 0), "rho_min": (rho_min, 0)}
        if not isinstance(estimate, str):
            bounds["estimate"] = (estimate, 0)
        for name, (found, low) in bounds.items():
            if found < low or found == 0:
                expected = f"needs a number {'of 1 or more' if low else 'above 0'}"
                raise ValueError(f"{name}: found {found}; {expected}")
        if warmup_weight < 0:
            raise ValueError(f"warmup_weight: found {warmup_weight}; needs a number of 0 or more")
        if isinstance(estimate, str):
            one_of("estimate", estimate, ("labelled", "unlabelled"))
        one_of("loss", loss, ("hard", "soft"))
        if estimate == "labelled":
            self.needs = ("labelled", "target")
        self.warmup, self.interval = warmup, interval
        self.gamma, self.c, self.rho_min = gamma, c, rho_min
        self.estimate, self.loss, self.warmup_weight = estimate, loss, warmup_weight
        self.iterations_per_epoch, self.max_iterations = iterations_per_epoch, max_iterations
        self.targets = SharpenedUntil(temperature, self)

    def build(self, networks: Networks, facts: DataFacts, reads: Reads) -> None:
        """Creates the state: the steps that were made, and what rho_hat is the mean of."""
        self.register_buffer("num_steps", torch.tensor(0))
        self.register_buffer("total", torch.zeros(()))
        self.register_buffer("count", torch.zeros(()))

    @cached_property
    def warmup_steps(self) -> int:
        """The warm-up in optimizer steps."""
        return self._steps(self.warmup)

    @cached_property
    def interval_steps(self) -> int:
        """How many optimizer steps a threshold stays."""
        return self._steps(self.interval)

    def _steps(self, duration: Duration) -> int:
        known = {
            "iterations_per_epoch": self.iterations_per_epoch,
            "max_iterations": self.max_iterations,
        }
        return max(steps(duration, **known), 1)

    @property
    def is_warming_up(self) -> Tensor:
        """Whether only labels are learned from, a bool of no dimension."""
        return self.num_steps < self.warmup_steps

    @property
    def rho(self) -> Tensor:
        """The threshold, a tensor of no dimension; during the warm-up without meaning."""
        decays = (self.num_steps - self.warmup_steps).clamp(min=0) // self.interval_steps
        rho_hat = self.total / self.count.clamp(min=1)
        if not isinstance(self.estimate, str):
            rho_hat = torch.full_like(rho_hat, self.estimate)
        factor = (-math.log(self.gamma) * decays.to(rho_hat.dtype)).exp()
        return (self.c * factor * rho_hat).clamp(min=self.rho_min)

    @torch.no_grad()
    def update(self, prediction: Prediction) -> None:
        """Measures the loss of a batch towards the end of the warm-up."""
        if not isinstance(self.estimate, str):
            return
        if self.estimate == "labelled":
            losses, weights = _of_labels(prediction)
        else:
            losses, weights = self._of_targets(prediction), None
        mean, count = mean_of_all(losses[:, None].to(self.total.dtype), weights)
        first = self.warmup_steps - max(1, round(MEASURED * self.warmup_steps))
        count = count * ((self.num_steps >= first) & self.is_warming_up)
        self.total += mean[0] * count
        self.count += count

    def forward(self, prediction: Prediction) -> Tensor:
        """Weighs every row (N,)."""
        if self.loss == "hard":
            losses = -prediction.aligned.log_softmax(dim=1).amax(dim=1)
        else:
            losses = self._of_targets(prediction)
        weights = (losses <= self.rho).to(losses.dtype)
        return torch.where(self.is_warming_up, self.warmup_weight, weights)

    def _of_targets(self, prediction: Prediction) -> Tensor:
        """The loss of each row's own target (N,)."""
        targets: Tensor = cast(nn.Module, self.targets)(prediction.aligned)
        return F.cross_entropy(prediction.aligned, targets, reduction="none")

    def metrics(self) -> dict[str, Tensor]:
        """Metric `rho`, the threshold; nan during the warm-up."""
        return {"rho": torch.where(self.is_warming_up, math.nan, self.rho)}

    def after_step(self, step: Step) -> None:
        """Counts the step."""
        self.num_steps += 1


class SharpenedUntil(nn.Module):
    """Sharpened targets while the threshold of a policy is above its lowest, then hard ones.

    Args:
        temperature: Of the sharpened ones, above 0.
        policy: The policy.

    Raises:
        ValueError: If the temperature is not above 0.
    """

    def __init__(self, temperature: float, policy: LossPolicy) -> None:
        super().__init__()
        self.sharpened, self.hard = SharpenedTargets(temperature), HardTargets()
        self._policy = (policy,)  # in a tuple, for its state is its own

    def forward(self, logits: Tensor) -> Tensor:
        """Turns logits (N, C) into distributions (N, C)."""
        (policy,) = self._policy
        is_hard = (policy.rho <= policy.rho_min) & ~policy.is_warming_up
        return torch.where(is_hard, self.hard(logits), self.sharpened(logits))


def _of_labels(prediction: Prediction) -> tuple[Tensor, Tensor]:
    """The loss of each labeled row (M,), and whether it has a label at all (M,)."""
    logits, target = cast(Tensor, prediction.labelled), cast(Tensor, prediction.target)
    return F.cross_entropy(logits, target.clamp(min=0), reduction="none"), target >= 0
