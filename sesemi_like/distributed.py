"""The collectives of the package: sums, gathered rows and values over all processes of a run."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Value = TypeVar("Value")


def world_size() -> int:
    """The number of processes; 1 before a process group is initialized."""
    return dist.get_world_size() if _is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if _is_initialized() else 0


def all_sum(value: Tensor) -> Tensor:
    """Adds up a tensor over all processes; differentiable.

    Its gradient is that of the sum of all processes' losses: each process gets the sum of the
    gradients that reach the total on any of them. Where a loss is averaged over processes, as DDP
    averages gradients, this is what one process with all rows would compute. Detach a value that
    needs no gradient, so that no backward pass communicates for it.

    Args:
        value: A tensor of one shape and dtype on every process; it is not changed.

    Returns:
        The total, on every process; `value` itself where there is one process.
    """
    if world_size() == 1:
        return value
    total: Tensor = _AllSum.apply(value)
    return total


def gather_rows(rows: Tensor, *, equal: bool = False) -> Tensor:
    """Concatenates the rows of all processes in the order of their ranks; differentiable.

    The gradient of each row is the sum of those that reach it on any process, as for
    :func:`all_sum`. Detach rows that need none, so that no backward pass communicates for them.

    Args:
        rows: (N, ...) of any dtype; N may differ between processes and be zero, dtype and the
            further dimensions may not.
        equal: Whether N is known to be the same on every process, as the batches of a loader are
            that drops an incomplete last one. Otherwise the numbers are exchanged first, for which
            a GPU has to wait. Rows of different numbers that are said to be equal are an error or
            end in a deadlock.

    Returns:
        (sum of all N, ...), on every process; `rows` itself where there is one process.
    """
    if world_size() == 1:
        return rows
    if equal:
        gathered: Tensor = _AllGather.apply(rows)
        return gathered
    counts = torch.zeros(world_size(), dtype=torch.int64, device=rows.device)
    counts[rank()] = len(rows)
    sizes = all_sum(counts).tolist()
    most = max(sizes)
    if most == 0:
        return rows
    padding = rows.new_zeros(most - len(rows), *rows.shape[1:])
    of_processes = gather_rows(torch.cat([rows, padding]), equal=True).split(most)
    return torch.cat([part[:size] for part, size in zip(of_processes, sizes, strict=True)])


def all_true(value: bool, device: torch.device | str = "cpu") -> bool:
    """Whether something holds on every process.

    Args:
        value: Whether it holds on this one.
        device: Where the processes communicate: a GPU for NCCL, the CPU for gloo.
    """
    if world_size() == 1:
        return value
    count = torch.tensor(int(value), device=device)
    dist.all_reduce(count, op=dist.ReduceOp.MIN)
    return bool(count)


def gather_objects(own: Value) -> list[Value]:
    """Returns one picklable value of every process, in the order of their ranks, on each."""
    if world_size() == 1:
        return [own]
    parts: list[Any] = [None] * world_size()
    dist.all_gather_object(parts, own)
    return parts


class _AllSum(torch.autograd.Function):
    """A sum over processes, whose gradient is the sum of the gradients on all processes."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return all_sum(gradients[0])  # differentiable itself


class _AllGather(torch.autograd.Function):
    """The equally many rows of every process, whose gradient is summed over all processes."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.rows = len(rows)
        gathered = rows.new_empty(world_size() * len(rows), *rows.shape[1:])
        dist.all_gather_into_tensor(gathered, rows.contiguous())
        return gathered

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = all_sum(gradients[0])  # differentiable itself
        return total[rank() * ctx.rows : (rank() + 1) * ctx.rows]


def _is_initialized() -> bool:
    return dist.is_available() and dist.is_initialized()
