"""A loss term: a head, how its rows become one number, and its weight over time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..config.facts import DataFacts
from ..config.instantiate import instantiate
from ..errors import ConfigError, ConfigProblem
from ..models.heads.loss.base import LossHead, LossOutputs
from ..models.networks import Networks
from ..schedulers.weight import ConstantSchedule

Schedule = Callable[[int], float]


class LossTerm(nn.Module):
    """One summand of the training loss: ``scale_factor * schedule(step) * reduce(losses)``.

    Args:
        head: The loss head.
        schedule: The weight over time, step -> float; None is a constant 1.
        reduction: ``mean``, ``weighted_mean`` or ``sum``.
        scale_factor: Multiplies the weight.
        key: The term's config key, for messages.
    """

    def __init__(
        self,
        head: LossHead,
        *,
        schedule: Schedule | None = None,
        reduction: str = "mean",
        scale_factor: float = 1.0,
        key: str = "",
    ) -> None:
        super().__init__()
        self.head = head
        self.schedule = schedule or ConstantSchedule()
        self.reduction = reduction
        self.scale_factor = scale_factor
        self.key = key

    @classmethod
    def from_config(cls, config: Mapping[str, Any], head: LossHead, *, key: str) -> LossTerm:
        """Builds a term around a head from `scheduler`, `reduction` and `scale_factor`."""
        return cls(
            head,
            schedule=instantiate(config.get("scheduler"), key=f"{key}.scheduler"),
            reduction=config.get("reduction", "mean"),
            scale_factor=config.get("scale_factor", 1.0),
            key=key,
        )

    def build(self, networks: Networks, facts: DataFacts) -> None:
        """Has the head create its layers and tables.

        Raises:
            ConfigError: If that is not possible with these networks and data.
        """
        try:
            self.head.build(networks, facts)
        except ConfigError:
            raise
        except Exception as error:
            expected = f"cannot be built: {type(error).__name__}: {error}"
            problem = ConfigProblem(self.key, type(self.head).__name__, expected)
            raise ConfigError([problem]) from error

    def weight(self, step: int) -> float:
        """The weight of this term at an optimizer step."""
        return self.scale_factor * self.schedule(step)

    @torch.no_grad()
    def metrics(self, given: Mapping[str, Any], outputs: LossOutputs) -> dict[str, Tensor]:
        """What the head has logged, computed now; for steps that are written alone.

        Args:
            given: The outputs of the forwards that the head was called with.
            outputs: What it returned.
        """
        return {**outputs.metrics, **self.head.metrics(given, outputs)}

    def problems(self) -> list[ConfigProblem]:
        """Finds a schedule that gives no weight, such as one that needs an unknown run length."""
        try:
            self.weight(0)
        except (ValueError, TypeError) as error:
            return [
                ConfigProblem(f"{self.key}.scheduler", type(self.schedule).__name__, str(error))
            ]
        return []

    @property
    def is_off(self) -> bool:
        """Whether the weight is zero at every step, so that the head need not run at all."""
        is_constant = isinstance(self.schedule, ConstantSchedule)
        return self.scale_factor == 0 or (is_constant and self.schedule(0) == 0)
