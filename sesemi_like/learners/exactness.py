"""Whether rows for a network can be stacked into one forward without changing what comes of it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.utils import _pytree

from .forwards import ForwardPlan
from .trial import untouched

_TOLERANCE = 1e-4
"""Of the largest value: float32 rounding differs by far less, statistics by far more."""


def sees_batch(module: nn.Module) -> bool:
    """Whether a part of a module is BatchNorm in training mode, or keeps statistics of batches."""
    return any(
        part.training and (isinstance(part, _BatchNorm) or part.track_running_stats)
        for part in module.modules()
        if isinstance(part, _NormBase)
    )


def joined_where_exact(separate: ForwardPlan) -> ForwardPlan:
    """The plan that stacks rows, but for networks with BatchNorm in training mode.

    Args:
        separate: The plan that runs every request by itself.
    """
    networks = separate.networks
    joined = ForwardPlan(separate.requests, networks, joined=True)
    apart = {name for name in joined.stacked if sees_batch(networks.module(name))}
    return ForwardPlan(separate.requests, networks, joined=True, apart=apart)


def without_inexact(
    separate: ForwardPlan, joined: ForwardPlan, batch: Mapping[str, Tensor]
) -> ForwardPlan:
    """The joined plan without networks whose rows see each other, or that draw random numbers.

    Stacked and separate rows then give other values in training mode, buffers and later random
    numbers included: dropout, or any layer that looks at the whole batch.

    Args:
        separate: The plan that runs every request by itself.
        joined: The plan that stacks rows.
        batch: The fields of a step of a few samples, on the CPU.
    """
    apart = joined.called - joined.stacked
    for name in joined.stacked:
        one, other = (_traces(joined.part(name, joined=j), batch) for j in (False, True))
        if one is None or other is None or not all(map(_is_close, one, other)):
            apart.add(name)
    return ForwardPlan(separate.requests, separate.networks, joined=True, apart=apart)


def _traces(plan: ForwardPlan, batch: Mapping[str, Tensor]) -> list[Tensor] | None:
    """A plan's returns and what it leaves in buffers; None if it fails or draws."""
    with untouched(plan.networks), torch.no_grad():
        begin = torch.get_rng_state()
        try:
            leaves = [x for x in _pytree.tree_leaves(plan.run(batch)) if isinstance(x, Tensor)]
        except Exception:  # whatever a network cannot take
            return None
        if not torch.equal(torch.get_rng_state(), begin):
            return None
        return [*leaves, *(value.clone() for value in plan.networks.buffers())]


def _is_close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or not one.is_floating_point():
        return torch.equal(one, other)
    scale = float(one.abs().max()) if one.numel() else 0.0
    return torch.allclose(one, other, rtol=0, atol=_TOLERANCE * scale)
