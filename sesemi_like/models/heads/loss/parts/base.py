"""What the parts of a pseudo-label head have in common, and what that head reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .....config.facts import DataFacts
from ....networks import Networks
from ..base import Step
from ..requests import Forward
from .interpolation import interpolated
from .prediction import NEEDS, Prediction
from .settings import one_of

Norm = Literal["update", "batch", "eval"]


@dataclass(frozen=True)
class Reads:
    """The data and networks that a pseudo-label head reads.

    Attributes:
        input_data: The loader of unlabeled rows.
        teacher_view: Its view that pseudo-labels are made from.
        learner_view: Its view that is learned from.
        network: The network that learns.
        teacher_network: The network that makes the pseudo-labels.
        labelled_data: The loader of labeled rows.
        labelled_view: Its view.
        labelled_target: Its field of classes.
        teacher_norm: What BatchNorm does in the teacher's forward.
        learner_norm: What BatchNorm does in the learner's forward.
        labelled_interpolated: Whether labeled logits are drawn as the supervised loss draws them.
        weights: The request for how much each unlabeled row counts; None before it is known.
    """

    input_data: str = "unlabeled"
    teacher_view: str = "weak"
    learner_view: str = "strong"
    network: str = "classifier"
    teacher_network: str = "classifier"
    labelled_data: str = "supervised"
    labelled_view: str = "image"
    labelled_target: str = "target"
    teacher_norm: Norm = "update"
    learner_norm: Norm = "update"
    labelled_interpolated: bool = False
    weights: Forward | None = None

    @property
    def teacher(self) -> Forward:
        """The teacher's forward, without gradients."""
        return self.by_teacher(self.teacher_view)

    @property
    def learner(self) -> Forward:
        """The learner's forward of all rows."""
        return self.by_learner(self.learner_view)

    @property
    def labelled(self) -> Forward:
        """The forward of the labeled rows, that of the supervised loss, without gradients."""
        field = f"{self.labelled_data}.{self.labelled_view}"
        request = Forward(field, self.network, grad=False)
        return interpolated(request) if self.labelled_interpolated else request

    def by_teacher(self, view: str) -> Forward:
        """The teacher's forward of a view of the unlabeled rows, without gradients."""
        field = f"{self.input_data}.{view}"
        return Forward(field, self.teacher_network, grad=False, norm=self.teacher_norm)

    def by_learner(self, view: str) -> Forward:
        """The learner's forward of a view of the unlabeled rows, with gradients."""
        return Forward(f"{self.input_data}.{view}", self.network, norm=self.learner_norm)

    def kept(self, request: Forward) -> Forward:
        """The same request where rows that the policy leaves out need not be run."""
        return replace(request, rows=self.weights)

    def needed(self, need: str) -> Forward:
        """The request for one of :data:`~.prediction.NEEDS`."""
        return {
            "index": Forward.field(f"{self.input_data}.index"),
            "uniform": Forward(self.teacher, "self.uniform", grad=False),
            "labelled": self.labelled.part("logits"),
            "target": Forward.field(f"{self.labelled_data}.{self.labelled_target}"),
        }[need]


class UniformDraws:
    """The draws that parts may need, for a head to inherit; :meth:`Reads.needed` asks for them."""

    def uniform(self, teacher: Mapping[str, Any], generator: torch.Generator) -> Tensor:
        """Draws a number from [0, 1) for each row (N,), for parts that need it."""
        logits: Tensor = teacher["logits"]
        drawn = torch.rand(len(logits), generator=generator)
        return drawn.to(logits.device, logits.dtype)


class Part(nn.Module):
    """A word of the sentence that a pseudo-label head is: an alignment or a policy.

    State is registered buffers, which are equal on all processes: what moves them is first summed
    or gathered over all of them (`sesemi_like.distributed`).

    Attributes:
        needs: What it reads of a batch beside the teacher's logits, of
            :data:`~.prediction.NEEDS`; the others are None in a :class:`Prediction`.
    """

    needs: tuple[str, ...] = ()

    def build(self, networks: Networks, facts: DataFacts, reads: Reads) -> None:
        """Creates tables and buffers, once their sizes are known.

        Args:
            networks: The learner's networks; ``networks.num_classes(reads.network)`` is C.
            facts: What is known of the data.
            reads: What the head reads.
        """

    def update(self, prediction: Prediction) -> None:
        """Moves the state by a batch, before it is applied to it; in training alone.

        Args:
            prediction: The batch; an alignment gets it unaligned, a policy aligned.
        """

    def after_step(self, step: Step) -> None:
        """Follows an optimizer step, see :meth:`LossHead.after_step`."""


def needs_of(parts: Iterable[Part]) -> tuple[str, ...]:
    """What parts read of a batch beside the teacher's logits, in the order of `NEEDS`.

    Raises:
        ValueError: If a part needs what there is not.
    """
    parts = list(parts)
    for part in parts:
        for need in part.needs:
            one_of(f"needs of {type(part).__name__}", need, NEEDS)
    return tuple(need for need in NEEDS if any(need in part.needs for part in parts))


def checked_answer(part: Part, answer: Tensor, like: Tensor) -> Tensor:
    """Returns what a part has answered for a batch.

    Args:
        part: An alignment or a policy.
        answer: What it returned.
        like: A tensor of the shape that it should have, and a floating-point dtype.

    Raises:
        ValueError: If it has another shape, or is of no floating-point type.
    """
    if answer.shape != like.shape or not answer.is_floating_point():
        found = f"{answer.dtype} {tuple(answer.shape)}"
        expected = f"needs {like.dtype} {tuple(like.shape)}"
        raise ValueError(f"{type(part).__name__} answers {found}; {expected}")
    return answer
