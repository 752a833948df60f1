"""Optimizers of a learner: their groups, fused kernels where possible, memory layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins import MixedPrecision
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from ..config.instantiate import instantiate
from ..errors import ConfigError, ConfigProblem
from .lr_schedules import build_schedule
from .param_groups import as_arguments, parameter_groups, set_rates

if TYPE_CHECKING:
    from .base import Learner

FUSED = ("SGD", "Adam", "AdamW")
"""torch's optimizers with a fused kernel for every device, in every supported release."""


def build_optimizer(learner: Learner, trainer: pl.Trainer | None) -> torch.optim.Optimizer:
    """Builds the optimizer of a learner from its hyperparameters.

    Args:
        learner: A learner that has been built.
        trainer: What trains it; None outside a run.

    Raises:
        ConfigError: If it cannot be built, or not with these parameter groups.
    """
    config, key = learner.settings["optimizer"], f"{learner.key}.optimizer"
    groups, fused = parameter_groups(learner), fused_settings(config, trainer)
    optimizer: torch.optim.Optimizer = instantiate(config, as_arguments(groups), key=key, **fused)
    if misfit := _misfit(optimizer, learner):
        raise ConfigError([ConfigProblem(key, config.get("_target_"), misfit)])
    set_rates(optimizer, groups, key=key)
    return optimizer


def _misfit(optimizer: torch.optim.Optimizer, learner: nn.Module) -> str | None:
    """Why an optimizer of torch cannot train a learner; None where it can."""
    if isinstance(optimizer, torch.optim.SparseAdam):
        has_sparse = any(getattr(module, "sparse", False) for module in learner.modules())
        return None if has_sparse else "takes sparse gradients, and no layer has them; choose Adam"
    if isinstance(optimizer, torch.optim.LBFGS):
        parameters = (p for group in optimizer.param_groups for p in group["params"])
        if any(parameter.ndim == 4 for parameter in parameters):
            return "cannot train the weights of 2-d convolutions as they lie in memory here"
    return None


def with_schedule(learner: Learner, optimizer: torch.optim.Optimizer) -> OptimizerLRScheduler:
    """Builds the learning-rate schedule of a learner, and returns both as Lightning takes them.

    Args:
        learner: The learner, whose hyperparameters name a schedule or none.
        optimizer: Its optimizer.

    Raises:
        ConfigError: If the schedule cannot be built.
    """
    schedule = learner.settings.get("lr_scheduler")
    if not schedule:
        return optimizer
    key = f"{learner.key}.lr_scheduler"
    settings: Any = build_schedule(schedule, optimizer, learner.judged_by, key=key)
    return {"optimizer": optimizer, "lr_scheduler": settings}


def fused_settings(config: Mapping[str, Any], trainer: pl.Trainer | None) -> dict[str, bool]:
    """Chooses the fused kernel of torch's optimizers where the config leaves the kernel open.

    In mixed precision Lightning neither clips nor unscales gradients for fused optimizers.

    Args:
        config: The optimizer's config.
        trainer: What it is used in; None outside a run.

    Returns:
        ``{"fused": True}`` or nothing.
    """
    module, _, name = str(config.get("_target_")).rpartition(".")
    has_kernel = module == "torch.optim" and name in FUSED
    kernels = (config.get("fused"), config.get("foreach"), config.get("differentiable") or None)
    is_open = all(kernel is None for kernel in kernels)
    return {"fused": True} if has_kernel and is_open and not _changes_gradients(trainer) else {}


def _changes_gradients(trainer: pl.Trainer | None) -> bool:
    """Whether gradients of mixed precision are unscaled or clipped before a step."""
    if trainer is None or not isinstance(trainer.precision_plugin, MixedPrecision):
        return False
    return trainer.precision == "16-mixed" or bool(trainer.gradient_clip_val)


def use_channels_last(module: nn.Module) -> None:
    """Stores the weights of 2-d convolutions as convolutions read them fastest; values stay."""
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def match_layout(optimizer: torch.optim.Optimizer) -> None:
    """Lays out an optimizer's state in memory as its parameters, which fused kernels rely on.

    The state in a checkpoint may be of a run whose weights had another layout.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
