"""The sentence that most methods are: a teacher's prediction becomes a target for another view.

Shapes: N unlabeled rows, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....config.facts import DataFacts
from ....errors import suggest
from ...networks import Networks
from .base import Fields, Forward, LossHead, LossOutputs, LossValues, Step
from .parts.alignments import Alignment, align, checked_alignment
from .parts.base import Norm, Part, Reads, UniformDraws, needs_of
from .parts.metrics import confidence
from .parts.policies import policy_module, weigh
from .parts.prediction import Prediction, PseudoLabels
from .parts.targets import HardTargets, checked_targets
from .parts.terms import Term, checked_terms


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """``H(q, p) = - sum_c q_c log p_c`` for every row.

    Args:
        logits: The prediction (N, C), p its softmax.
        targets: Distributions q (N, C).

    Returns:
        (N,), zero or more.
    """
    return F.cross_entropy(logits, targets, reduction="none")


def kullback_leibler(logits: Tensor, targets: Tensor) -> Tensor:
    """``KL(q || p) = sum_c q_c log(q_c / p_c)`` for every row; arguments as above."""
    divergence = F.kl_div(logits.log_softmax(dim=1), targets, reduction="none")
    return divergence.sum(dim=1)


def squared_difference(logits: Tensor, targets: Tensor) -> Tensor:
    """``1/C sum_c (p_c - q_c)^2`` for every row; arguments as above."""
    return (logits.softmax(dim=1) - targets).square().mean(dim=1)


LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": cross_entropy,
    "kl": kullback_leibler,
    "mse": squared_difference,
}
"""From the learner's logits (N, C) and targets (N, C) to one loss per row (N,), by name."""


class PseudoLabelLossHead(UniformDraws, LossHead):
    """Learns from what a teacher predicts, by exchangeable parts.

    The sentence that FixMatch (Sohn et al., 2020, arXiv 2001.07685) and most methods after it are:
    a teacher's prediction on one view, *aligned*, becomes a *target* for the learner's prediction
    on another view, and a *policy* says which rows count and how much; further *terms* are added.
    With teacher logits z and learner logits s, for each row::

        z'     = alignment(z)
        weight = policy(softmax z')
        loss   = H(targets(z'), softmax s)

    plus the sum of the terms, each times its coefficient. Each is reduced over its own rows.

    Args:
        input_data: The loader of unlabeled images.
        teacher_view: The view that pseudo-labels are made from.
        learner_view: The view that is learned from; may be the same.
        network: The network that learns; it returns `logits` (N, C).
        teacher: The network that makes the pseudo-labels; null is `network` itself.
        alignment: Changes the teacher's logits, such as `parts.AverageAlignment`; null leaves them.
        aligned_targets: Whether targets are made from the aligned logits; false aligns for the
            policy alone (SoftMatch).
        targets: The part that maps logits (N, C) to targets (N, C), such as
            `parts.SharpenedTargets`; null is the policy's own, or else `parts.HardTargets`.
        policy: The confidence needed, in [0, 1], or a part such as `parts.SelfAdaptivePolicy`.
        loss: ``cross_entropy``, ``kl`` or ``mse`` between targets and prediction.
        terms: Further terms by name, such as `parts.FairnessTerm`.
        teacher_norm: What BatchNorm does for the teacher's view: update | batch | eval, see
            :class:`Forward`.
        learner_norm: What BatchNorm does for the learner's view.
        labelled_data: The loader of labeled images, for parts that read them.
        labelled_view: Its view.
        labelled_target: Its field of classes.
        labelled_interpolated: Whether labeled logits are those that the supervised loss draws where
            it is `interpolated` as well (AdaMatch).

    Raises:
        ValueError: If the policy is a number outside [0, 1], a part is of another kind, there is
            no such loss, or a term is called like the head's own, ``pseudo_label``.

    Example::

        regularization_loss_heads:
          freematch:
            head:
              _target_: sesemi_like.models.heads.loss.PseudoLabelLossHead
              policy: {_target_: sesemi_like.models.heads.loss.parts.SelfAdaptivePolicy}
              terms:
                fairness:
                  _target_: sesemi_like.models.heads.loss.parts.FairnessTerm
                  coefficient: 0.01
    """

    def __init__(
        self,
        input_data: str = "unlabeled",
        teacher_view: str = "weak",
        learner_view: str = "strong",
        network: str = "classifier",
        teacher: str | None = None,
        alignment: Alignment | None = None,
        aligned_targets: bool = True,
        targets: nn.Module | None = None,
        policy: float | nn.Module = 0.95,
        loss: str = "cross_entropy",
        terms: Mapping[str, Term] | None = None,
        teacher_norm: Norm = "update",
        learner_norm: Norm = "update",
        labelled_data: str = "supervised",
        labelled_view: str = "image",
        labelled_target: str = "target",
        labelled_interpolated: bool = False,
    ) -> None:
        super().__init__()
        if loss not in LOSSES:
            raise ValueError(f"loss: found {loss!r}; {suggest(loss, LOSSES, noun='losses')}")
        terms = checked_terms(terms)
        if "pseudo_label" in terms:
            raise ValueError("terms: found 'pseudo_label', which is the head's own; rename it")
        self.reads = Reads(
            input_data,
            teacher_view,
            learner_view,
            network,
            teacher or network,
            labelled_data,
            labelled_view,
            labelled_target,
            teacher_norm,
            learner_norm,
            labelled_interpolated,
        )
        self.policy = policy_module(policy)
        self.alignment = checked_alignment(alignment)
        self.aligned_targets = aligned_targets
        self.targets = checked_targets(targets) or self.policy.targets or HardTargets()
        self.loss = LOSSES[loss]
        self.terms = nn.ModuleDict(terms)
        parts: list[Part] = [self.policy] if alignment is None else [alignment, self.policy]
        self._parts = tuple(parts)
        self._terms = terms
        self._needs = needs_of(parts)

    def build(self, networks: Networks, facts: DataFacts) -> None:
        """Has the parts create their state."""
        for part in self._parts:
            part.build(networks, facts, self.reads)
        for term in self._terms.values():
            term.build(networks, facts, self.reads)

    def forwards(self, fields: Fields) -> dict[str, Forward]:
        """Asks for the teacher's prediction, its judgement, and the learner's rows that count."""
        reads = self.reads
        needed = [reads.needed(need) for need in self._needs]
        judged = Forward((reads.teacher, *needed), "self.judge", grad=False)
        learner = reads.learner
        if replace(learner, grad=False) != reads.teacher:
            # Rows of weight zero need not be run.
            learner = replace(learner, rows=judged.part("weights"))
        asked = {"judged": judged, "learner": learner}
        if self._terms:
            asked |= {f"need.{need}": reads.needed(need) for need in self._needs}
        reads = replace(reads, weights=judged.part("weights"))
        for name, term in self._terms.items():
            of_term = term.forwards(reads)
            asked |= {f"{name}.{key}": request for key, request in of_term.items()}
        return asked

    def judge(self, teacher: Mapping[str, Any], *needed: Tensor) -> dict[str, Tensor]:
        """Makes pseudo-labels, and moves the state of the parts in training.

        Args:
            teacher: What the teacher answered, with `logits` (N, C).
            *needed: What the parts need beside it, in the order of :data:`NEEDS`.

        Returns:
            `logits` and `aligned` (N, C), `targets` (N, C), `weights` (N,).
        """
        logits: Tensor = teacher["logits"]
        prediction = Prediction(logits, **dict(zip(self._needs, needed, strict=True)))
        prediction = align(self.alignment, prediction, updates=self.training)
        weights = weigh(self.policy, prediction, updates=self.training)
        if self.training:
            for term in self._terms.values():
                term.update(prediction, weights)
        targets, aligned = self._targets_of(prediction), prediction.aligned
        return {"logits": logits, "aligned": aligned, "targets": targets, "weights": weights}

    def _targets_of(self, prediction: Prediction) -> Tensor:
        is_aligned = self.aligned_targets
        targets: Tensor = self.targets(prediction.aligned if is_aligned else prediction.logits)
        return targets

    def forward(self, outputs: Mapping[str, Any], step: Step) -> LossOutputs:
        """The weighted loss of the pseudo-labels, and the further terms."""
        judged = outputs["judged"]
        learner = outputs["learner"]["logits"]
        losses = self._compare(learner, judged["targets"])
        if not self._terms:
            return LossOutputs(losses, judged["weights"])
        terms = {"pseudo_label": LossValues(losses, judged["weights"])}
        needed = {n: outputs[f"need.{n}"] for n in ("labelled", "target") if n in self._needs}
        judge = partial(self._judge_others, **needed)
        labels = PseudoLabels(**judged, learner=learner, judge=judge, compare=self._compare)
        for name, term in self._terms.items():
            begin = f"{name}."
            given = {k.removeprefix(begin): v for k, v in outputs.items() if k.startswith(begin)}
            values = term(labels, given)
            values = values if isinstance(values, LossValues) else LossValues(values)
            terms[name] = replace(values, coefficient=term.coefficient)
        return LossOutputs(terms)

    def _of_learner(self, logits: Tensor) -> Tensor:
        return logits if self.alignment is None else self.alignment.of_learner(logits)

    def _compare(self, logits: Tensor, targets: Tensor) -> Tensor:
        return self.loss(self._of_learner(logits), targets)

    @torch.no_grad()
    def _judge_others(self, logits: Tensor, **needed: Tensor) -> tuple[Tensor, Tensor]:
        prediction = Prediction(logits.detach(), **needed)
        prediction = align(self.alignment, prediction, updates=False)
        return self._targets_of(prediction), weigh(self.policy, prediction, updates=False)

    def metrics(self, outputs: Mapping[str, Any], losses: LossOutputs) -> Mapping[str, Tensor]:
        """Metrics `mask_rate`, the mean weight of a row, `confidence`, and those of the policy."""
        judged = outputs["judged"]
        rate = {"mask_rate": judged["weights"].mean()}
        return {**rate, **confidence(judged["logits"]), **self.policy.metrics()}

    def after_step(self, step: Step) -> None:
        """Tells the parts that an optimizer step was made."""
        for part in self._parts:
            part.after_step(step)
        for term in self._terms.values():
            term.after_step(step)
