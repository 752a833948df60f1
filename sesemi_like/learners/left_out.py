"""Whether rows that weigh nothing are left out of forwards: only where that is exact and faster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from ..distributed import gather_objects
from ..models.norm import sees_batch
from ..trees import tree_leaves
from .forwards import ForwardPlan
from .joining import is_close, is_joined_faster
from .side_effects import without_side_effects

log = logging.getLogger(__name__)


class RowChoice:
    """Decides of which networks only the rows are run that weigh something.

    Args:
        weighed: The networks that some request need not run all rows of.
        setting: ``off``; ``on``: where a network treats rows independently; or ``auto``: where
            leaving half of the rows out also changes nothing, random numbers included, and a trial
            on the first batch finds it faster.

    Attributes:
        in_use: The networks whose rows are left out; None before it has been decided.
    """

    def __init__(self, weighed: Collection[str], setting: str) -> None:
        self.setting, self._weighed = setting, set(weighed)
        self.in_use: list[str] | None = None if weighed and setting != "off" else []
        self._exact: list[str] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it has yet to be decided."""
        return self.in_use is None

    def drop_inexact(self, plan: ForwardPlan, batch: Mapping[str, Any]) -> None:
        """Excludes the networks for which leaving rows out would change the others.

        Args:
            plan: The plan of a step.
            batch: The fields of a step of a few samples.
        """
        if not self.is_open:
            return
        found = {name: self._reason_against(plan, name, batch) for name in sorted(plan.weighed)}
        reasons = _agreed(found)
        self._exact = [name for name, reason in reasons.items() if reason is None]
        for name, reason in reasons.items():
            if reason is not None:
                # Nobody asked for what `auto` finds impossible, as with every BatchNorm network.
                _announce(name, reason, logging.WARNING if self.setting == "on" else logging.DEBUG)
        if not self._exact:
            self.in_use = []

    def decide(
        self,
        plan: ForwardPlan,
        batch: Mapping[str, Any],
        context: Callable[[], AbstractContextManager[Any]],
    ) -> ForwardPlan:
        """Leaves rows out where that is exact and, with ``auto``, faster.

        Args:
            plan: The plan of a step.
            batch: The fields of a step.
            context: Makes what is entered around the trial, for the run's precision.

        Returns:
            The plan to run.
        """
        if self.is_open and self._exact is None:
            self.drop_inexact(plan, batch)
        if self.in_use is None:
            exact = self._exact or []
            is_worth = self.setting == "on" or _saves_time(plan, exact, batch, context)
            self.in_use = exact if is_worth else []
        return plan.variant(selecting=self.in_use) if self.in_use else plan

    def resume(self, used: Collection[str] | None) -> None:
        """Goes on as the run of a checkpoint did, where a trial would decide otherwise.

        Args:
            used: Its :attr:`in_use`.
        """
        is_tried = self.is_open and self.setting == "auto"
        if is_tried and used is not None and self._weighed.issuperset(used):
            self.in_use = sorted(used)

    def _reason_against(self, plan: ForwardPlan, name: str, batch: Mapping[str, Any]) -> str | None:
        module = plan.networks.module(name)
        selecting = plan.variant(joined=False, selecting=[name])
        if any(sees_batch(module, norm) for norm in selecting.norms_of(name, weighed=True)):
            return "it has BatchNorm in training mode, which reads all rows together"
        half = selecting.part(name, joined=False)
        with without_side_effects(plan.modules, batch), torch.no_grad():
            if self.setting == "on":
                plan.modules.eval()  # dropout draws for each row by itself
            if not _is_exact(half, batch):
                return "other rows change when some are left out, or random numbers are drawn"
        return None


def _agreed(own: dict[str, str | None]) -> dict[str, str | None]:
    """The reasons of all processes, which may have tried it on other rows."""
    of_processes = gather_objects(own)
    return {name: next(filter(None, (r[name] for r in of_processes)), None) for name in own}


def _is_exact(half: ForwardPlan, batch: Mapping[str, Any]) -> bool:
    """Whether every second row is answered alike with and without the others."""
    begin, buffers = torch.get_rng_state(), [b.clone() for b in half.modules.buffers()]
    answers = []
    try:
        for plan in (half.variant(selecting=()), half.variant(half=True)):
            answers.append(_every_second(plan.run(batch)))
            answers[-1] += [b.clone() for b in half.modules.buffers()]
            for buffer, before in zip(half.modules.buffers(), buffers, strict=True):
                buffer.copy_(before)
    except Exception:  # whatever a network does not accept
        return False
    if not torch.equal(torch.get_rng_state(), begin):
        return False
    return all(map(is_close, *answers))


def _every_second(answers: Any) -> list[Tensor]:
    leaves = [leaf for leaf in tree_leaves(answers) if isinstance(leaf, Tensor)]
    return [leaf[::2] if leaf.ndim else leaf for leaf in leaves]


def _saves_time(
    plan: ForwardPlan,
    names: Collection[str],
    batch: Mapping[str, Any],
    context: Callable[[], AbstractContextManager[Any]],
) -> bool:
    """Whether running half of the rows saves a twentieth of the time of all."""
    half = plan.variant(selecting=names, half=True)
    return is_joined_faster(plan, half, batch, context())


@rank_zero_only
def _announce(name: str, reason: str, level: int) -> None:
    log.log(
        level, "all rows of the network %s are run, also those of weight zero: %s", name, reason
    )
