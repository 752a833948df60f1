"""Frozen modules: no gradients, and evaluation mode through every call of `train`."""

from __future__ import annotations

from functools import partial

from torch import nn


def freeze(module: nn.Module) -> None:
    """Stops a module from learning for good: no gradients, BatchNorm and dropout as in evaluation.

    All parts of it stay in evaluation mode, whichever of them `train` is called on; so do copies.

    Args:
        module: The module, which is changed in place.
    """
    module.requires_grad_(False)
    for part in module.modules():
        part.training = False
        part.__dict__["train"] = partial(_stay_in_evaluation, part)


def _stay_in_evaluation(module: nn.Module, mode: bool = True) -> nn.Module:
    return type(module).train(module, False)


def is_frozen(module: nn.Module) -> bool:
    """Whether a module, or one that it is part of, was frozen."""
    return "train" in vars(module)
