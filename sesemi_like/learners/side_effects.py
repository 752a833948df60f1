"""Forwards without side effects: buffers, modes and random numbers are restored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..trees import tensors_of


@contextmanager
def without_side_effects(module: nn.Module, values: Any = ()) -> Iterator[None]:
    """Restores a module's buffers and modes, and the random number generators, afterwards.

    Args:
        module: The module that is called.
        values: A tree; the generators of its tensors' GPUs are restored beside the CPU's.
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


def gpus_of(values: Any) -> list[torch.device]:
    """The GPUs that the tensors of a tree are on."""
    return list({value.device for value in tensors_of(values) if value.device.type == "cuda"})
