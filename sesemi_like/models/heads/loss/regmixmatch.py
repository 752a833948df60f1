"""RegMixMatch: sure rows are learned as they are and mixed, unsure ones mixed with sure ones.

Shapes: B labeled rows, N unlabeled rows, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....config.facts import DataFacts
from ....errors import suggest
from ...networks import Networks
from .base import Fields, Forward, LossOutputs, LossValues, Step
from .parts.alignments import Alignment
from .parts.averages import mean_of_all
from .parts.base import Norm
from .parts.mixed_rows import check_shapes
from .parts.mixing import Mixing, Mixup, blend, partners_among, partners_within
from .parts.terms import Term
from .pseudo_label import PseudoLabelLossHead, cross_entropy, squared_difference

LABELS_PER_CLASS = 100
"""From how many labels of a class on labeled rows are mixed with sure ones, in the public code."""
WEIGHED_BY = ("row", "batch")


class RegMixMatchLossHead(PseudoLabelLossHead):
    """Learns pseudo-labels from clean rows, from mixed ones, and from rows that are too unsure.

    Han et al., "RegMixMatch: optimizing mixup utilization in semi-supervised learning", 2025, arXiv
    2412.10741, by its public code. It adds two terms to a pseudo-label head, FreeMatch's in the
    paper. With p the teacher's prediction, aligned, and a row *sure* if ``max p >= threshold``:

    - ``mixed``: the learner's view of each sure row is mixed with that of another one, and the
      pseudo-labels alike; cross-entropy, divided by all N rows. With many labels, labeled rows take
      part as well.
    - ``unsure``: the learner's view of each other row is mixed with a labeled or sure row, drawn
      from those of the row's most likely class in one half of the steps, from all in the other, and
      p with that row's label; ``(max p)^power 1/C sum_c (target_c - p'_c)^2``, divided by the
      number of unsure rows. Where there is no row to mix with, it stays as it is.

    All mixed rows are one batch.

    Args:
        input_data: The loader of unlabeled rows.
        teacher_view: The view that pseudo-labels are made from.
        learner_view: The view that is learned from, and mixed.
        network: The network that learns; it returns `logits` (N, C).
        teacher: The network that makes the pseudo-labels; null is `network` itself.
        alignment: Changes the teacher's logits; null, as in the paper, leaves them.
        targets: The part that maps logits (N, C) to targets (N, C); null is `parts.HardTargets`.
        policy: The confidence needed of clean rows, in [0, 1], or a part, as in
            :class:`PseudoLabelLossHead`; the paper's is `parts.SelfAdaptivePolicy`.
        terms: Further terms by name; the paper's is `parts.FairnessTerm`.
        threshold: The confidence of a sure row, in [0, 1].
        sure_mixing: How sure rows become one; null is `parts.Mixup` of alpha 1. The paper's, for
            images, is `parts.ResizeMix` of alpha 1.
        unsure_mixing: How an unsure row and a sure one become one; null is `parts.Mixup` of alpha
            16. The paper's, for images, is `parts.ResizeMix` of alpha 16.
        same_class: The share of steps, in [0, 1], in which partners are of the most likely class.
        power: Of the confidence that weighs an unsure row.
        weighed_by: ``row`` weighs each unsure row by its own power; ``batch``, as the public code,
            by the mean over the unsure rows.
        mixed_weight: The weight of the term ``mixed``.
        unsure_weight: The weight of the term ``unsure``; 0 leaves it out, as the code's switch.
        mix_labeled: Whether labeled rows are mixed with sure ones; null does so where data have 100
            labels of a class and more on average.
        norm: What BatchNorm does for mixed rows: update | batch | eval, see :class:`Forward`.
        labelled_data: The loader of labeled rows.
        labelled_view: Its view.
        labelled_target: Its field of classes, -1 for none.

    Raises:
        ValueError: If an argument is out of range, or a term has a name of the head's own.

    Example::

        regularization_loss_heads:
          regmixmatch:
            head:
              _target_: sesemi_like.models.heads.loss.RegMixMatchLossHead
              policy: {_target_: sesemi_like.models.heads.loss.parts.SelfAdaptivePolicy}
              sure_mixing: {_target_: sesemi_like.models.heads.loss.parts.ResizeMix, alpha: 1}
              unsure_mixing: {_target_: sesemi_like.models.heads.loss.parts.ResizeMix, alpha: 16}
    """

    def __init__(
        self,
        input_data: str = "unlabeled",
        teacher_view: str = "weak",
        learner_view: str = "strong",
        network: str = "classifier",
        teacher: str | None = None,
        alignment: Alignment | None = None,
        targets: nn.Module | None = None,
        policy: float | nn.Module = 0.95,
        terms: Mapping[str, Term] | None = None,
        threshold: float = 0.999,
        sure_mixing: Mixing | None = None,
        unsure_mixing: Mixing | None = None,
        same_class: float = 0.5,
        power: float = 3.0,
        weighed_by: str = "row",
        mixed_weight: float = 1.0,
        unsure_weight: float = 1.0,
        mix_labeled: bool | None = None,
        norm: Norm = "update",
        labelled_data: str = "supervised",
        labelled_view: str = "image",
        labelled_target: str = "target",
    ) -> None:
        super().__init__(
            input_data,
            teacher_view,
            learner_view,
            network,
            teacher,
            alignment,
            targets=targets,
            policy=policy,
            terms=terms,
            labelled_data=labelled_data,
            labelled_view=labelled_view,
            labelled_target=labelled_target,
        )
        for key, value in {"threshold": threshold, "same_class": same_class}.items():
            if not 0 <= value <= 1:
                raise ValueError(f"{key}: found {value}; needs a number in [0, 1]")
        if weighed_by not in WEIGHED_BY:
            known = suggest(weighed_by, WEIGHED_BY, noun="choices")
            raise ValueError(f"weighed_by: found {weighed_by!r}; {known}")
        for name in ("mixed", "unsure"):
            if name in self._terms:
                raise ValueError(f"terms: found {name!r}, which is the head's own; rename it")
        self.threshold = threshold
        self.sure_mixing = sure_mixing or Mixup(1.0, per_row=False, at_least_half=False)
        self.unsure_mixing = unsure_mixing or Mixup(16.0, per_row=False, at_least_half=False)
        self.same_class = same_class
        self.power = power
        self.weighed_by = weighed_by
        self.mixed_weight, self.unsure_weight = mixed_weight, unsure_weight
        self.mix_labeled = mix_labeled
        self.norm: Norm = norm

    def build(self, networks: Networks, facts: DataFacts) -> None:
        """Has the parts create their state, and counts labels."""
        super().build(networks, facts)
        if self.mix_labeled is None:
            counts = facts.class_counts.get(self.reads.labelled_data) or [0]
            self.mix_labeled = sum(counts) >= LABELS_PER_CLASS * len(counts)

    def forwards(self, fields: Fields) -> dict[str, Forward]:
        """Asks for what pseudo-labels need, and for the mixed rows through the network."""
        reads, asked = self.reads, super().forwards(fields)
        labeled = f"{reads.labelled_data}.{reads.labelled_view}"
        rows = f"{reads.input_data}.{reads.learner_view}"
        given = (asked["judged"], rows, labeled, f"{reads.labelled_data}.{reads.labelled_target}")
        mixed = Forward(given, "self.mix", grad=False)
        asked["mixed.labels"] = mixed.part("labels")
        asked["mixed.rows"] = Forward(mixed.part("rows"), reads.network, norm=self.norm)
        return asked

    def mix(
        self,
        judged: Mapping[str, Tensor],
        rows: Tensor,
        labeled: Tensor,
        target: Tensor,
        generator: torch.Generator,
    ) -> dict[str, Any]:
        """Mixes sure rows among themselves, and unsure ones with sure and labeled ones.

        Args:
            judged: What :meth:`judge` answered.
            rows: The learner's view of the unlabeled rows (N, ...).
            labeled: The labeled rows (B, ...).
            target: Their classes (B,), int64, -1 for none.
            generator: What is drawn from.

        Returns:
            `rows`, the N mixed rows, after them B labeled ones if they are mixed too; `labels`:
            their `targets` (N or N + B, C); which unlabeled rows are `sure` (N,) and their
            `confidence` (N,); `weights` of the term ``mixed`` (N or N + B,).
        """
        name = f"{self.reads.input_data}.{self.reads.learner_view}"
        of = f"{self.reads.labelled_data}.{self.reads.labelled_view}"
        check_shapes({name: rows}, labeled, of)
        p = judged["aligned"].softmax(dim=1)
        confidence, classes = p.max(dim=1)
        sure, is_labeled = confidence >= self.threshold, target >= 0
        known = F.one_hot(target.clamp(min=0), p.shape[1]).to(p.dtype)
        pool = _Rows(
            torch.cat([rows, labeled]),
            torch.cat([judged["targets"], known]),
            torch.cat([classes, target]),
            torch.cat([sure, is_labeled]),
        )
        unsure = _Rows(rows, p, classes, ~sure)
        mixed, targets = self._mix_sure(
            pool if self.mix_labeled else pool.first(len(rows)), generator
        )
        if self.unsure_weight:
            other, other_targets = self._mix_unsure(unsure, pool, generator)
            mixed = torch.cat([_where(sure, mixed[: len(rows)], other), mixed[len(rows) :]])
            own = _where(sure, targets[: len(rows)], other_targets)
            targets = torch.cat([own, targets[len(rows) :]])
        labels = {
            "targets": targets,
            "sure": sure,
            "confidence": confidence,
            "weights": pool.counts[: len(mixed)].to(p.dtype),
        }
        return {"rows": mixed, "labels": labels}

    def _mix_sure(self, pool: _Rows, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        others = partners_within(pool.counts, generator)
        mixed, shares = self.sure_mixing(pool.rows, pool.rows[others], generator)
        return mixed, blend(shares, pool.targets, pool.targets[others])

    def _mix_unsure(
        self, unsure: _Rows, pool: _Rows, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        allowed = pool.counts.expand(len(unsure.rows), -1)
        if float(torch.rand((), generator=generator)) < self.same_class:
            allowed = allowed & (unsure.classes[:, None] == pool.classes)
        others, found = partners_among(allowed, generator)
        if len(pool.rows) == 0:
            return unsure.rows, unsure.targets
        mixed, shares = self.unsure_mixing(unsure.rows, pool.rows[others], generator)
        targets = blend(shares, unsure.targets, pool.targets[others])
        return _where(found, mixed, unsure.rows), _where(found, targets, unsure.targets)

    def forward(self, outputs: Mapping[str, Any], step: Step) -> LossOutputs:
        """The terms of the pseudo-labels, and those of the mixed rows."""
        terms = super().forward(outputs, step).terms
        terms = {("pseudo_label" if n == "loss" else n): value for n, value in terms.items()}
        logits = self._of_learner(outputs["mixed.rows"]["logits"])
        labels = outputs["mixed.labels"]
        rows = torch.full((), len(labels["sure"]), device=logits.device)
        losses = cross_entropy(logits, labels["targets"])
        terms["mixed"] = LossValues(losses, labels["weights"], rows, self.mixed_weight)
        if self.unsure_weight:
            terms["unsure"] = self._unsure_term(logits[: len(labels["sure"])], labels)
        return LossOutputs(terms)

    def _unsure_term(self, logits: Tensor, labels: Mapping[str, Tensor]) -> LossValues:
        unsure = ~labels["sure"]
        losses = squared_difference(logits, labels["targets"][: len(logits)])
        weights = labels["confidence"] ** self.power * unsure
        if self.weighed_by == "batch":
            mean, _ = mean_of_all(weights[:, None], unsure, is_shared=self.training)
            weights = mean * unsure
        return LossValues(losses, weights, unsure.sum(), self.unsure_weight)

    def metrics(self, outputs: Mapping[str, Any], losses: LossOutputs) -> Mapping[str, Tensor]:
        """Metrics of the pseudo-labels, and `sure_rate`, the share of sure rows."""
        sure: Tensor = outputs["mixed.labels"]["sure"]
        return {**super().metrics(outputs, losses), "sure_rate": sure.float().mean()}


class _Rows:
    """Rows (K, ...), their targets (K, C) and classes (K,), and which of them count (K,)."""

    def __init__(self, rows: Tensor, targets: Tensor, classes: Tensor, counts: Tensor) -> None:
        self.rows, self.targets, self.classes, self.counts = rows, targets, classes, counts

    def first(self, number: int) -> _Rows:
        parts = (self.rows, self.targets, self.classes, self.counts)
        return _Rows(*(part[:number] for part in parts))


def _where(chosen: Tensor, rows: Tensor, others: Tensor) -> Tensor:
    return torch.where(chosen.reshape(-1, *[1] * (rows.ndim - 1)), rows, others)
