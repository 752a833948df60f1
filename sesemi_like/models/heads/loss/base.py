"""The contract of a loss head: what it asks for, and what it returns.

Shapes: N rows of a batch, C classes, D features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ....config.facts import DataFacts
from .requests import Fields as Fields
from .requests import Forward as Forward

if TYPE_CHECKING:
    from ...networks import Networks


@dataclass(frozen=True)
class LossValues:
    """One term of a head's loss: rows of its own, which are reduced for themselves.

    Attributes:
        losses: One loss per row (N,). An empty selection is a tensor of no rows that is still
            attached to the graph.
        weights: One weight per row (N,), not differentiated, or None for ones.
        count: How many rows `mean` divides by, a tensor of no dimension, or None for all N. A head
            that leaves rows out need not select the others, for which a GPU would have to wait.
        coefficient: Multiplies the reduced term, a number, which may be negative, or a tensor of no
            dimension, which is not differentiated.
        reduced: Whether `losses` is one number already, a tensor of no dimension: a function of the
            rows of all processes (made with `sesemi_like.distributed.all_sum`), the same on each. A
            reduction leaves it as it is, on any number of processes.
    """

    losses: Tensor
    weights: Tensor | None = None
    count: Tensor | None = None
    coefficient: float | Tensor = 1.0
    reduced: bool = False


@dataclass
class LossOutputs:
    """What a head returns; the learner reduces, weights, sums and logs it.

    Attributes:
        losses: One loss per row (N,), or several named terms, each with rows, weights, count and a
            coefficient of its own; a tensor (N,) stands for ``LossValues`` of it alone. The head's
            value is the sum of its reduced terms, each times its coefficient, and each is logged as
            ``train/<head>/<term>``, without its coefficient.
        weights: As in :class:`LossValues`; None with named terms, which have their own.
        metrics: Further named scalars to log, detached tensors of no dimension, each a mean over
            the rows that count, nan where there is none; of the same names at every step, for
            processes are averaged. What takes time belongs into :meth:`LossHead.metrics`.
        count: As in :class:`LossValues`; None with named terms.
    """

    losses: Tensor | Mapping[str, Tensor | LossValues]
    weights: Tensor | None = None
    metrics: Mapping[str, Tensor] = field(default_factory=dict)
    count: Tensor | None = None

    @property
    def terms(self) -> dict[str, LossValues]:
        """The terms by name; losses without names are one, ``loss``.

        Raises:
            ValueError: If there is no term, or named terms come with weights or a count for all.
        """
        if isinstance(self.losses, Tensor):
            return {"loss": LossValues(self.losses, self.weights, self.count)}
        if not self.losses:
            raise ValueError("losses: found no term; needs one at least")
        if self.weights is not None or self.count is not None:
            raise ValueError("weights and count: found them beside named terms; put them into each")
        return {
            name: term if isinstance(term, LossValues) else LossValues(term)
            for name, term in self.losses.items()
        }

    @property
    def rows(self) -> int | Tensor:
        """How many rows count; of several terms, those of the first."""
        first = next(iter(self.terms.values()))
        if first.reduced:
            return 1  # it is of all rows, on every process
        return len(first.losses) if first.count is None else first.count


@dataclass(frozen=True)
class Step:
    """Where training stands, for heads whose rule depends on it.

    Attributes:
        index: Optimizer steps taken so far, from 0.
        max_steps: Steps of the whole run, or None where it is open-ended.
        networks: The learner's networks, for interactive heads alone (adversarial perturbation);
            every other head asks for forwards instead.
        batch: The fields of this step, trees by full name (``"unlabeled.weak"``); the parts of a
            nested one are there by their dotted names as well (``"pairs.text.input_ids"``).
        epoch: Epochs completed so far, from 0.
        seed: Seeds `generator`: of this run, batch and process.
    """

    index: int
    max_steps: int | None
    networks: Networks
    batch: Mapping[str, Any]
    epoch: int = 0
    seed: int = 0

    @cached_property
    def generator(self) -> torch.Generator:
        """A generator on the CPU for what heads draw in this step; they share it in their order.

        A resumed run draws what it would have drawn, and each process draws for itself.
        """
        return torch.Generator().manual_seed(self.seed)


class LossHead(nn.Module):
    """A rule that turns the outputs of the forwards it requests into one loss per row.

    A head never loops over a loader, moves tensors between devices, steps an optimizer or logs.
    State that must survive a restart is a registered buffer. Buffers are equal on all processes:
    DDP copies those of the first one to the others before each step, so what another one adds from
    its own rows alone is lost. What goes into a buffer is first summed or gathered over all of them
    (`sesemi_like.distributed`).

    Attributes:
        needs: The outputs that are kept of a full pass, see :meth:`passes`.
        shared: Parts that heads have in common, by name. A head puts its own in here, at
            construction or in :meth:`build`; of parts of one name all heads then hold the first
            one, which is in a checkpoint once. One of them updates it, the others read.
    """

    needs: tuple[str, ...] = ("logits",)

    def __init__(self) -> None:
        super().__init__()
        self.shared: dict[str, Any] = {}  # the learner registers them, once

    def forwards(self, fields: Fields) -> dict[str, Forward]:
        """Lists the forwards that this head needs; called once, before training.

        Args:
            fields: The field names of every train loader. Requests for missing fields or networks
                need no check here: they are reported together with all other mistakes.

        Returns:
            The requests by the names under which :meth:`forward` receives their outputs.
        """
        raise NotImplementedError(f"{type(self).__name__} must say which forwards it needs")

    def build(self, networks: Networks, facts: DataFacts) -> None:
        """Creates the head's own layers and tables, once their sizes are known.

        Args:
            networks: The learner's networks.
            facts: What is known of the data: rows and indices of every loader, labels by class.
        """

    def forward(self, outputs: Mapping[str, Any], step: Step) -> LossOutputs:
        """Applies the rule.

        Args:
            outputs: The results by request name: the field itself (``through=None``), or what the
                network returned; a classifier returns ``{"features": (N, D), "logits": (N, C)}``.
            step: Where training stands.

        Returns:
            The losses, their weights, and metrics to log.
        """
        raise NotImplementedError(f"{type(self).__name__} has no rule")

    def metrics(self, outputs: Mapping[str, Any], losses: LossOutputs) -> Mapping[str, Tensor]:
        """Computes what is only logged; called without gradients, on steps that are written alone.

        Args:
            outputs: What :meth:`forward` received.
            losses: What it returned.

        Returns:
            Named scalars, as in :attr:`LossOutputs.metrics`.
        """
        return {}

    def passes(self) -> Mapping[str, int]:
        """Names the train loaders whose data this head wants predicted in full, and how often.

        Returns:
            ``{loader: n}``: at the beginning of every n-th epoch, the first included, the loader's
            data are predicted as in evaluation, un-augmented, and handed to :meth:`receive`.
        """
        return {}

    def receive(self, loader: str, predictions: Any) -> None:
        """Takes the predictions of a full pass, the same on every process.

        Args:
            loader: The train loader.
            predictions: Its :class:`~sesemi_like.predictions.Predictions`, on the CPU, by
                ``index`` ascending, each sample once; of every evaluated network the outputs that
                :attr:`needs` names.
        """
        raise NotImplementedError(f"{type(self).__name__} asks for passes but receives none")

    def after_step(self, step: Step) -> None:
        """Follows an optimizer step and the averages of weights; not called after skipped steps.

        Args:
            step: What :meth:`forward` was called with, of several accumulated batches the last.
        """
