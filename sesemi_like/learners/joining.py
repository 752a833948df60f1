"""Whether rows for a network are joined into one forward: only where that is exact and faster."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from ..distributed import all_true
from ..trees import tree_leaves
from .forwards import ForwardPlan
from .side_effects import gpus_of, without_side_effects

log = logging.getLogger(__name__)

REPEATS = 2
NEEDED_GAIN = 0.95
"""Joining must save a twentieth of the time, so that chance does not choose between equals."""

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
    with without_side_effects(plan.networks), torch.no_grad():
        begin = torch.get_rng_state()
        try:
            leaves = [x for x in tree_leaves(plan.run(batch)) if isinstance(x, Tensor)]
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


def is_joined_faster(
    separate: ForwardPlan,
    joined: ForwardPlan,
    batch: Mapping[str, Tensor],
    context: AbstractContextManager[Any],
) -> bool:
    """Runs forwards and gradients of both plans on a batch, and says whether joining pays.

    Nothing is learned or counted: buffers and random numbers are put back, gradients dropped. Every
    process returns the same: it pays if it works, and saves time, on all of them.

    Args:
        separate: The plan that runs every request by itself.
        joined: The plan that stacks rows.
        batch: The fields of a step.
        context: Entered around all of it, for the run's precision.
    """
    with without_side_effects(separate.networks, batch.values()), context:
        pays = _pays_here(separate, joined, batch)
    return all_true(pays, next(iter(batch.values())).device)


def _pays_here(separate: ForwardPlan, joined: ForwardPlan, batch: Mapping[str, Tensor]) -> bool:
    times: dict[ForwardPlan, list[float]] = {separate: [], joined: []}
    try:
        _seconds(joined, batch)  # the first call of a kernel may choose and build it
    except Exception as error:  # whatever a network cannot take, or too little memory
        log.info("forwards stay separate, for joined ones fail: %s", error)
        return False
    _seconds(separate, batch)
    for _ in range(REPEATS):
        for plan, found in times.items():
            found.append(_seconds(plan, batch))
    return min(times[joined]) < NEEDED_GAIN * min(times[separate])


def _seconds(plan: ForwardPlan, batch: Mapping[str, Tensor]) -> float:
    _wait(batch)
    start = time.perf_counter()
    leaves = tree_leaves(plan.run(batch))
    answers = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.requires_grad]
    parameters = [p for p in plan.networks.parameters() if p.requires_grad]
    if answers and parameters:
        total = torch.stack([answer.float().sum() for answer in answers]).sum()
        torch.autograd.grad(total, parameters, allow_unused=True)
    _wait(batch)
    return time.perf_counter() - start


def _wait(batch: Mapping[str, Tensor]) -> None:
    for device in gpus_of(batch.values()):
        torch.cuda.synchronize(device)
