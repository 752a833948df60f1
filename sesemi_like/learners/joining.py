"""The choice between two ways to run a step: both are tried on a batch, the faster one is taken."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree

from ..distributed import all_processes
from .forwards import ForwardPlan
from .trial import gpus, untouched

log = logging.getLogger(__name__)

REPEATS = 2
NEEDED_GAIN = 0.95
"""Joining must save a twentieth of the time, so that chance does not choose between equals."""


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
    with untouched(separate.networks, batch.values()), context:
        pays = _pays_here(separate, joined, batch)
    return all_processes(pays, next(iter(batch.values())).device)


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
    leaves = _pytree.tree_leaves(plan.run(batch))
    answers = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.requires_grad]
    parameters = [p for p in plan.networks.parameters() if p.requires_grad]
    if answers and parameters:
        total = torch.stack([answer.float().sum() for answer in answers]).sum()
        torch.autograd.grad(total, parameters, allow_unused=True)
    _wait(batch)
    return time.perf_counter() - start


def _wait(batch: Mapping[str, Tensor]) -> None:
    for device in gpus(batch.values()):
        torch.cuda.synchronize(device)
