"""Where a run computes: `run.gpus`, `run.num_nodes`, ... as settings of a Lightning Trainer."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from pytorch_lightning.utilities import rank_zero_only

from .compat.torch import cpu_has_bf16
from .config.check import parse_gpus
from .errors import ConfigError, ConfigProblem

log = logging.getLogger(__name__)

# From glibc's malloc.h: how much free memory at the end of the heap is kept, and how many blocks
# are mapped on their own.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_MAX_KEPT_BYTES = 2**30


@dataclass(frozen=True)
class Devices:
    """Where a run computes.

    Attributes:
        accelerator: Lightning's accelerator, ``gpu`` or ``cpu``.
        devices: How many devices of a node, or which.
        strategy: Lightning's strategy.
        num_nodes: Machines that take part.
        precision: Lightning's precision.
        is_deterministic: Whether `trainer.deterministic` is set.
    """

    accelerator: str
    devices: int | list[int]
    strategy: str
    num_nodes: int
    precision: str | int = "32-true"
    is_deterministic: bool = False

    @property
    def per_node(self) -> int:
        """Devices, and so processes, of a node."""
        return self.devices if isinstance(self.devices, int) else len(self.devices)

    @property
    def num_gpus(self) -> int:
        """GPUs of a node."""
        return 0 if self.accelerator == "cpu" else self.per_node

    @property
    def of_process(self) -> torch.device:
        """The device of this process."""
        if self.accelerator == "cpu":
            return torch.device("cpu")
        place = int(os.environ.get("LOCAL_RANK", 0))
        return torch.device("cuda", place if isinstance(self.devices, int) else self.devices[place])

    @property
    def world_size(self) -> int:
        """Processes over all nodes."""
        return self.per_node * self.num_nodes

    def trainer_settings(self) -> dict[str, Any]:
        """The settings of a Trainer."""
        return {
            "accelerator": self.accelerator,
            "devices": self.devices,
            "strategy": self.strategy,
            "num_nodes": self.num_nodes,
            "precision": self.precision,
            # Lets cuDNN time its algorithms, which pays off where batches are of one size.
            "benchmark": self.accelerator != "cpu" and not self.is_deterministic,
        }


def choose_devices(run: Mapping[str, Any], trainer: Mapping[str, Any]) -> Devices:
    """Chooses where a run computes; keys of `trainer` take precedence over those of `run`.

    `run.accelerator=dp` meant one process that spreads its batch over the GPUs. Lightning no longer
    has it, so it runs as DDP with the same total batch, which is logged.

    Args:
        run: The section `run`.
        trainer: The section `trainer`.

    Raises:
        ConfigError: If more GPUs are asked for than there are.
    """
    gpus = _available_gpus(parse_gpus(run["gpus"]))
    accelerator = trainer.get("accelerator", "auto")
    if accelerator == "auto":
        accelerator = "gpu" if gpus else "cpu"
    devices = trainer.get("devices", gpus or 1)
    if not isinstance(devices, int | list):
        raise ConfigError([ConfigProblem("trainer.devices", devices, "needs a count or a list")])
    num_nodes = int(trainer.get("num_nodes", run["num_nodes"]))
    chosen = Devices(str(accelerator), devices, "auto", num_nodes)
    strategy = "ddp" if chosen.world_size > 1 else "auto"
    if run["accelerator"] == "dp" and chosen.world_size > 1:
        _log_once("run.accelerator=dp runs as ddp, with the same total batch")
    return replace(
        chosen,
        strategy=str(trainer.get("strategy", strategy)),
        precision=trainer.get("precision")
        or choose_precision(str(run["precision"]), str(accelerator)),
        is_deterministic=bool(trainer.get("deterministic")),
    )


def choose_precision(precision: str, accelerator: str) -> str:
    """Maps `run.precision` to Lightning's names.

    Args:
        precision: auto | 32 | bf16 | 16; auto is bf16 mixed precision where the hardware computes
            it natively (GPUs from compute capability 8.0, CPUs with AVX512-BF16 or AMX), else 32.
        accelerator: Where the run computes.

    Raises:
        ConfigError: If 16 is asked for on a CPU, whose half precision has too narrow a range to
            train without scaled gradients.
    """
    is_cpu = accelerator == "cpu"
    if precision == "16" and is_cpu:
        expected = "16 needs a GPU; give bf16, 32 or auto for the CPU"
        raise ConfigError([ConfigProblem("run.precision", precision, expected)])
    if precision == "auto":
        precision = "bf16" if (cpu_has_bf16() if is_cpu else _gpu_has_bf16()) else "32"
    return {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}[precision]


@rank_zero_only
def _log_once(text: str) -> None:
    log.info(text)


def _available_gpus(gpus: int | list[int]) -> int | list[int]:
    """Replaces -1 by the number of GPUs, and rejects GPUs that do not exist."""
    count = torch.cuda.device_count()
    if gpus == -1:
        return count
    highest = gpus if isinstance(gpus, int) else max(gpus) + 1
    if highest > count:
        expected = f"there are {count} GPUs here; give a smaller count, -1 (all), or 0 (the CPU)"
        raise ConfigError([ConfigProblem("run.gpus", gpus, expected)])
    return gpus


def _gpu_has_bf16() -> bool:
    return torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)


def tune_process() -> None:
    """Makes this process compute faster, by settings that change no configured value.

    GPUs multiply float32 matrices as TF32, whose 10 bits of mantissa suffice for training. On
    Linux, freed memory is kept for the next batch: returning it to the system and mapping it again,
    page by page, takes longer than a small operation on it. At most what was once in use is kept;
    only free memory at the end of the heap, beyond a gigabyte, is returned before the process ends.
    """
    torch.set_float32_matmul_precision("high")
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(_M_MMAP_MAX, 0)
            libc.mallopt(_M_TRIM_THRESHOLD, _MAX_KEPT_BYTES)
