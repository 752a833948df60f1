"""What a step logs: losses and metrics, reduced over all processes in one tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..distributed import all_sum, world_size
from .reductions import ReducedLoss


class StepLog:
    """Losses and metrics of a step by their full names.

    Attributes:
        losses: Tensors of no dimension whose mean over processes is logged.
        metrics: Tensors of no dimension that are means over rows, and how many of this process's.
        numbers: What is the same on all processes.
    """

    def __init__(self) -> None:
        self.losses: dict[str, Tensor] = {}
        self.metrics: dict[str, tuple[Tensor, int | Tensor]] = {}
        self.numbers: dict[str, float] = {}

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
        self.losses[f"train/{name}/loss"] = reduced.loss
        self.losses |= {f"train/{name}/{term}": value for term, value in reduced.terms.items()}
        self.losses[f"train/{name}/weighted_loss"] = weight * reduced.loss
        self.metrics |= {f"train/{name}/{key}": (value, rows) for key, value in metrics.items()}
        self.numbers[f"train/{name}/weight"] = weight

    def reduce(self, device: torch.device) -> dict[str, Tensor]:
        """Reduces over processes: losses as of one process with all rows, metrics over all rows.

        A process's losses are its sum over the count of all, times the number of processes, so
        their mean is the loss of one process with all rows. A metric counts by the rows that it is
        the mean of; where it is nan, for lack of rows, it is left out.

        Args:
            device: Where the processes communicate.
        """
        metrics = [value for value, _ in self.metrics.values()]
        own = _stack([*self.losses.values(), *metrics], device)
        if world_size() > 1:
            own = self._average(own, device)
        # Numbers go to the device at once: each transfer by itself would wait for it.
        numbers = torch.tensor([*self.numbers.values()], device=device)
        names = (*self.losses, *self.metrics, *self.numbers)
        return dict(zip(names, (*own.unbind(), *numbers.unbind()), strict=True))

    def _average(self, own: Tensor, device: torch.device) -> Tensor:
        counts = own.new_ones(len(own))
        if self.metrics:
            of_metrics = slice(len(self.losses), None)
            rows = _stack([rows for _, rows in self.metrics.values()], device)
            is_unknown = own[of_metrics].isnan() | (rows == 0)
            counts[of_metrics] = rows.masked_fill(is_unknown, 0)
            own[of_metrics] = own[of_metrics].masked_fill(is_unknown, 0)
        total = all_sum(torch.stack([own * counts, counts]))
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


def _stack(values: Sequence[Tensor | int], device: torch.device) -> Tensor:
    """Stacks numbers and tensors of no dimension, float32; only numbers are transferred."""
    tensors = [
        value.detach() if isinstance(value, Tensor) else torch.tensor(value, device=device)
        for value in values
    ]
    return torch.stack([tensor.to(device, torch.float32) for tensor in tensors])
