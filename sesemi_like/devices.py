"""From `run.gpus`, `run.num_nodes` and `run.accelerator` to what a Lightning Trainer takes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pytorch_lightning.utilities import rank_zero_only

from .config.check import parse_gpus
from .errors import ConfigError, ConfigProblem

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Devices:
    """Where a run computes.

    Attributes:
        accelerator: Lightning's accelerator, ``gpu`` or ``cpu``.
        devices: How many devices of a node, or which.
        strategy: Lightning's strategy.
        num_nodes: Machines that take part.
    """

    accelerator: str
    devices: int | list[int]
    strategy: str
    num_nodes: int

    @property
    def per_node(self) -> int:
        """Devices, and so processes, of a node."""
        return self.devices if isinstance(self.devices, int) else len(self.devices)

    @property
    def num_gpus(self) -> int:
        """GPUs of a node."""
        return 0 if self.accelerator == "cpu" else self.per_node

    @property
    def world_size(self) -> int:
        """Processes over all nodes."""
        return self.per_node * self.num_nodes

    def trainer_settings(self) -> dict[str, Any]:
        """The arguments of a Trainer."""
        return {
            "accelerator": self.accelerator,
            "devices": self.devices,
            "strategy": self.strategy,
            "num_nodes": self.num_nodes,
        }


def choose_devices(run: Mapping[str, Any], trainer: Mapping[str, Any]) -> Devices:
    """Settles where a run computes; keys of `trainer` go before those of `run`.

    `run.accelerator=dp` meant one process that spreads its batch over the GPUs. Lightning no longer
    has it, so it runs as DDP with the same total batch, and says so.

    Args:
        run: The section `run`.
        trainer: The section `trainer`.

    Raises:
        ConfigError: If more GPUs are asked for than there are.
    """
    gpus = _available(parse_gpus(run["gpus"]))
    accelerator = trainer.get("accelerator", "gpu" if gpus else "cpu")
    devices = trainer.get("devices", gpus or 1)
    if not isinstance(devices, int | list):
        raise ConfigError([ConfigProblem("trainer.devices", devices, "needs a count or a list")])
    num_nodes = int(trainer.get("num_nodes", run["num_nodes"]))
    chosen = Devices(str(accelerator), devices, "auto", num_nodes)
    strategy = "ddp" if chosen.world_size > 1 else "auto"
    if run["accelerator"] == "dp" and chosen.world_size > 1:
        _announce("run.accelerator=dp runs as ddp, with the same total batch")
    return Devices(str(accelerator), devices, str(trainer.get("strategy", strategy)), num_nodes)


@rank_zero_only
def _announce(text: str) -> None:
    log.info(text)


def _available(gpus: int | list[int]) -> int | list[int]:
    """Replaces -1 by the number of GPUs there are, and refuses what is not there."""
    count = torch.cuda.device_count()
    if gpus == -1:
        return count
    highest = gpus if isinstance(gpus, int) else max(gpus) + 1
    if highest > count:
        expected = f"there are {count} GPUs here; give a smaller count, -1 (all), or 0 (the CPU)"
        raise ConfigError([ConfigProblem("run.gpus", gpus, expected)])
    return gpus
