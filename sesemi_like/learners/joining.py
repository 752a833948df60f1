"""Whether rows for a network are joined into one forward: only where that is exact and faster."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..distributed import all_true, gather_objects
from ..models.norm import sees_batch
from ..trees import tensors_of, tree_leaves
from .forwards import ForwardPlan
from .side_effects import gpus_of, without_side_effects
from .trials import is_faster

log = logging.getLogger(__name__)

_TOLERANCE = 1e-4
"""Of the largest value: float32 rounding differs by far less, rows that see each other by more."""


class ForwardChoice:
    """Decides which plan a step runs: every request by itself, or rows for a network joined.

    Args:
        separate: The plan that runs every request by itself.
        setting: ``separate``, ``joined``, ``together``: joined with the rows that nobody wants
            gradients of, or ``auto``: joined where that changes nothing but speed and a trial on
            the first batch finds it faster.

    Attributes:
        plan: The plan to run now.
    """

    def __init__(self, separate: ForwardPlan, setting: str) -> None:
        self.plan = separate
        self._candidate: ForwardPlan | None = None  # what is left to try
        if setting in ("joined", "together"):
            self.plan = separate.variant(**{setting: True})
        elif setting == "auto":
            self._set_candidate(joined_where_exact(separate))

    @property
    def in_use(self) -> str | None:
        """``joined``, ``together`` or ``separate``; None before it has been decided."""
        if self._candidate is not None:
            return None
        if self.plan.together:
            return "together"
        return "joined" if self.plan.joined else "separate"

    def drop_inexact(self, batch: Mapping[str, Any]) -> None:
        """Excludes from joining the networks for which it would change values.

        Args:
            batch: The fields of a step of a few samples, on the CPU.
        """
        if self._candidate is not None:
            self._set_candidate(without_inexact(self.plan, self._candidate, batch))

    def decide(
        self, batch: Mapping[str, Any], context: Callable[[], AbstractContextManager[Any]]
    ) -> None:
        """Takes the faster plan, if that is still open.

        Args:
            batch: The fields of a step.
            context: Makes what is entered around the trial, for the run's precision.
        """
        if self._candidate is None:
            return
        candidate, self._candidate = self._candidate, None
        if is_joined_faster(self.plan, candidate, batch, context()):
            self.plan = candidate

    def resume(self, used: str | None) -> None:
        """Goes on as the run of a checkpoint did, where that is open; else warns of a difference.

        Args:
            used: Its :attr:`in_use`.
        """
        if self._candidate is not None and used:
            self.plan = self._candidate if used == "joined" else self.plan
            self._candidate = None
        if used and self.in_use not in (None, used):
            log.warning(
                "the checkpoint's run had its forwards %s, this one has them %s; "
                "model.forward: %s goes on as before",
                used,
                self.in_use,
                used,
            )

    def _set_candidate(self, joined: ForwardPlan) -> None:
        self._candidate = joined if joined.stacked else None


def joined_where_exact(separate: ForwardPlan) -> ForwardPlan:
    """The plan that stacks rows, but for networks whose BatchNorm would see all of them.

    Args:
        separate: The plan that runs every request by itself.
    """
    joined = separate.variant(joined=True)
    apart = {
        name
        for name in joined.stacked
        for norm in joined.norms_of(name)
        if sees_batch(separate.networks.module(name), norm)
    }
    return separate.variant(joined=True, apart=apart)


def without_inexact(
    separate: ForwardPlan, joined: ForwardPlan, batch: Mapping[str, Any]
) -> ForwardPlan:
    """The joined plan without networks whose rows depend on each other or that draw at random.

    Stacked and separate rows then give other values in training mode, buffers and later random
    numbers included: dropout, or any layer that reads the whole batch.

    Args:
        separate: The plan that runs every request by itself.
        joined: The plan that stacks rows.
        batch: The fields of a step of a few samples, on the CPU.
    """
    apart = joined.called - joined.stacked
    for name in joined.stacked:
        one, other = (_run_and_read(joined.part(name, joined=j), batch) for j in (False, True))
        if one is None or other is None or not all(map(is_close, one, other)):
            apart.add(name)
    apart.update(*gather_objects(apart))  # processes that try it on other rows run it alike
    return separate.variant(joined=True, apart=apart)


def _run_and_read(plan: ForwardPlan, batch: Mapping[str, Any]) -> list[Tensor] | None:
    """A plan's outputs and the buffers after it; None if it fails or draws random numbers."""
    with without_side_effects(plan.modules), torch.no_grad():
        begin = torch.get_rng_state()
        try:
            leaves = [x for x in tree_leaves(plan.run(batch)) if isinstance(x, Tensor)]
        except Exception:  # whatever a network does not accept
            return None
        if not torch.equal(torch.get_rng_state(), begin):
            return None
        return [*leaves, *(value.clone() for value in plan.modules.buffers())]


def is_close(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors differ by no more than rounding."""
    if one.shape != other.shape or not one.is_floating_point():
        return torch.equal(one, other)
    scale = float(one.abs().max()) if one.numel() else 0.0
    return torch.allclose(one, other, rtol=0, atol=_TOLERANCE * scale)


def is_joined_faster(
    separate: ForwardPlan,
    joined: ForwardPlan,
    batch: Mapping[str, Any],
    context: AbstractContextManager[Any],
    clock: Callable[[], float] = time.perf_counter,
) -> bool:
    """Times forwards and gradients of both plans on a batch.

    Nothing is learned or counted: buffers and random numbers are restored, gradients dropped. Every
    process returns the same, and runs both equally often: joining must work on all of them.

    Args:
        separate: The plan that runs every request by itself.
        joined: The plan that stacks rows.
        batch: The fields of a step.
        context: Entered around all of it, for the run's precision.
        clock: Returns seconds.
    """
    device = tensors_of(batch)[0].device

    def timed(plan: ForwardPlan) -> Callable[[], None]:
        return partial(_run_to_the_end, plan, batch)

    with without_side_effects(separate.modules, batch), context:
        # The first call of a kernel may choose and build it.
        if not all_true(_works(timed(joined)), device):
            return False
        timed(separate)()
        return is_faster(timed(joined), timed(separate), clock, device)


def _works(run: Callable[[], None]) -> bool:
    try:
        run()
    except Exception as error:  # whatever a network does not accept, or too little memory
        log.info("forwards stay separate because joined ones fail: %s", error)
        return False
    return True


def _run_to_the_end(plan: ForwardPlan, batch: Mapping[str, Any]) -> None:
    _run_with_gradients(plan, batch)
    for device in gpus_of(batch):
        torch.cuda.synchronize(device)


def _run_with_gradients(plan: ForwardPlan, batch: Mapping[str, Any]) -> None:
    leaves = tree_leaves(plan.run(batch))
    outputs = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.requires_grad]
    parameters = [p for p in plan.modules.parameters() if p.requires_grad]
    if outputs and parameters:
        total = torch.stack([output.float().sum() for output in outputs]).sum()
        torch.autograd.grad(total, parameters, allow_unused=True)
