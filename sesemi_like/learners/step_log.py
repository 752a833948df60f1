"""What a step logs: losses and metrics, reduced over all processes in one tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..distributed import all_sum, world_size
from .reductions import ReducedLoss


class StepLog:
    """Losses and metrics of a step by their full names.

    Attributes:
        values: What is logged: numbers, and tensors of no dimension.
        rows: How many of this process's rows a metric is the mean of, for each metric.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.rows: dict[str, Any] = {}

    def add(
        self,
        name: str,
        reduced: ReducedLoss,
        weight: float,
        metrics: Mapping[str, Tensor],
        rows: int | Tensor,
    ) -> None:
        """Adds a head's figures.

        Args:
            name: The head.
            reduced: Its loss.
            weight: The weight of its loss.
            metrics: Its metrics.
            rows: How many of this process's rows they are means of.
        """
        loss = reduced.loss
        losses = {"loss": loss, "weighted_loss": weight * loss, "weight": weight, **reduced.terms}
        named = {f"train/{name}/{key}": value for key, value in metrics.items()}
        self.values |= {f"train/{name}/{key}": value for key, value in losses.items()} | named
        self.rows |= dict.fromkeys(named, rows)

    def reduce(self, device: torch.device) -> dict[str, Tensor]:
        """Reduces over processes: losses as of one process with all rows, metrics over all rows.

        A process's losses are its sum over the count of all, times the number of processes, so
        their mean is the loss of one process with all rows. A metric counts by the rows that it is
        the mean of; where it is nan, for lack of rows, it is left out.

        Args:
            device: Where the processes communicate.
        """
        own = _stack(self.values.values(), device)
        if world_size() > 1:
            own = self._average(own, device)
        return dict(zip(self.values, own.unbind(), strict=True))

    def _average(self, own: Tensor, device: torch.device) -> Tensor:
        counts = _stack((self.rows.get(name, 1) for name in self.values), device)
        is_metric = torch.tensor([name in self.rows for name in self.values], device=device)
        is_known = ~(is_metric & (own.isnan() | (counts == 0)))
        counts = torch.where(is_known, counts, 0)
        sums = torch.where(is_known, own * counts, 0)
        total = all_sum(torch.stack([sums, counts]))
        return total[0] / total[1]


def logged_names(reduced: ReducedLoss, metrics: Mapping[str, Tensor]) -> list[str]:
    """Names what a head has logged.

    Args:
        reduced: Its loss.
        metrics: Its metrics.

    Raises:
        ValueError: If a name is given twice.
    """
    names = ["loss", "weighted_loss", "weight", *reduced.terms, *metrics]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)}: terms and metrics of one name would hide each other")
    return names


def _stack(values: Any, device: torch.device) -> Tensor:
    return torch.stack([torch.as_tensor(v, device=device).detach().float() for v in values])
