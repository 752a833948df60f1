"""The collectives of the package: what all processes of a run must agree on or add up."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Value = TypeVar("Value")


def world_size() -> int:
    """How many processes take part; 1 where none have been joined."""
    return dist.get_world_size() if _is_joined() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if _is_joined() else 0


def sum_over_processes(value: Tensor) -> Tensor:
    """Adds up a tensor over all processes, without gradients; every process gets the sum.

    Args:
        value: A tensor of one shape on every process; it is not changed.
    """
    if world_size() == 1:
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total


def all_processes(answer: bool, device: torch.device | str = "cpu") -> bool:
    """Whether something holds on every process.

    Args:
        answer: Whether it holds on this one.
        device: Where the processes communicate: a GPU for NCCL, the CPU for gloo.
    """
    if world_size() == 1:
        return answer
    count = torch.tensor(int(answer), device=device)
    dist.all_reduce(count, op=dist.ReduceOp.MIN)
    return bool(count)


def gather_objects(own: Value) -> list[Value]:
    """One picklable value of every process, in the order of their numbers, on every process."""
    if world_size() == 1:
        return [own]
    parts: list[Any] = [None] * world_size()
    dist.all_gather_object(parts, own)
    return parts


def _is_joined() -> bool:
    return dist.is_available() and dist.is_initialized()
