"""The contract of a loss head: what it asks for, and what it returns.

Shapes: N rows of a batch, C classes, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .requests import Fields as Fields
from .requests import Forward as Forward

if TYPE_CHECKING:
    from ...networks import Networks


class LazyMetrics(Mapping[str, Tensor]):
    """Metrics that are computed on first access, which steps that are not logged skip.

    Args:
        compute: Makes named scalars, detached tensors of no dimension.
    """

    def __init__(self, compute: Callable[[], Mapping[str, Tensor]]) -> None:
        self._compute = compute

    @cached_property
    def values_by_name(self) -> Mapping[str, Tensor]:
        """The metrics."""
        with torch.no_grad():
            return self._compute()

    def __getitem__(self, name: str) -> Tensor:
        return self.values_by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_name)

    def __len__(self) -> int:
        return len(self.values_by_name)


@dataclass
class LossOutputs:
    """What a head returns; the learner reduces, weights, sums and logs it.

    Attributes:
        losses: One loss per row (N,), or several named terms of (N,) each. An empty selection is a
            tensor of no rows that is still attached to the graph. Several terms: each is reduced
            over its own rows and the head's value is their mean.
        weights: One weight per row (N,), not differentiated, or None for ones. With several terms
            they must all have N rows.
        metrics: Named scalars to log, detached tensors of no dimension, each a mean over the rows
            that count, nan where there is none; of the same names at every step, for processes are
            averaged. Read only on steps that are logged, see :class:`LazyMetrics`.
        count: How many rows `mean` divides by, a tensor of no dimension, or None for all N. A head
            that leaves rows out need not select the others, for which a GPU would have to wait.
    """

    losses: Tensor | dict[str, Tensor]
    weights: Tensor | None = None
    metrics: Mapping[str, Tensor] = field(default_factory=dict)
    count: Tensor | None = None

    @property
    def rows(self) -> int | Tensor:
        """How many rows count; of several terms, those of the first."""
        if self.count is not None:
            return self.count
        losses = self.losses
        return len(losses if isinstance(losses, Tensor) else next(iter(losses.values())))


@dataclass(frozen=True)
class Step:
    """Where training stands, for heads whose rule depends on it.

    Attributes:
        index: Optimizer steps taken so far, from 0.
        max_steps: Steps of the whole run, or None where it is open-ended.
        networks: The learner's networks, for interactive heads alone (adversarial perturbation,
            mixup); every other head asks for forwards instead.
        batch: The fields of this step, by full name (``"unlabeled.weak"``).
    """

    index: int
    max_steps: int | None
    networks: Networks
    batch: Mapping[str, Tensor]


class LossHead(nn.Module):
    """A rule that turns the outputs of the forwards it requests into one loss per row.

    A head never loops over a loader, moves tensors between devices, steps an optimizer or logs.
    State that must survive a restart is a registered buffer. Buffers are equal on all processes:
    DDP copies those of the first one to the others before each step, so what another one adds from
    its own rows alone is lost. What goes into a buffer is first summed or gathered over all of them
    (`sesemi_like.distributed`).
    """

    def forwards(self, fields: Fields) -> dict[str, Forward]:
        """Lists the forwards that this head needs; called once, before training.

        Args:
            fields: The field names of every train loader. Requests for missing fields or networks
                need no check here: they are reported together with all other mistakes.

        Returns:
            The requests by the names under which :meth:`forward` receives their outputs.
        """
        raise NotImplementedError(f"{type(self).__name__} must say which forwards it needs")

    def build(self, networks: Networks) -> None:
        """Creates the head's own layers, once the networks and their sizes are known.

        Args:
            networks: The learner's networks.
        """

    def forward(self, outputs: Mapping[str, Any], step: Step) -> LossOutputs:
        """Applies the rule.

        Args:
            outputs: The results by request name: the field itself (``through=None``), or what the
                network returned; a classifier returns ``{"features": (N, D), "logits": (N, C)}``.
            step: Where training stands.

        Returns:
            The losses, their weights, and metrics to log.
        """
        raise NotImplementedError(f"{type(self).__name__} has no rule")
