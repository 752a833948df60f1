"""Forwards without side effects: buffers, modes and random numbers are restored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def without_side_effects(module: nn.Module, values: Iterable[Tensor] = ()) -> Iterator[None]:
    """Restores a module's buffers and modes, and the random number generators, afterwards.

    Args:
        module: The module that is called.
        values: Tensors whose GPUs' generators are restored beside the CPU's.
    """
    buffers = [(value, value.clone()) for value in module.buffers()]
    was_training = {name: part.training for name, part in module.named_modules()}
    try:
        with torch.random.fork_rng(devices=gpus_of(values)):
            yield
    finally:
        for name, part in module.named_modules():
            part.training = was_training[name]
        with torch.no_grad():
            for value, before in buffers:
                value.copy_(before)


def gpus_of(values: Iterable[Tensor]) -> list[torch.device]:
    """The GPUs that tensors are on."""
    return list({value.device for value in values if value.device.type == "cuda"})
