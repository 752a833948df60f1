"""What heads share whose pseudo-labels look at similar rows: CoMatch's and SimMatch's.

Shapes: N unlabeled rows, M labeled rows, C classes, D features of a projector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from .....config.facts import DataFacts
from ....networks import Networks
from ..base import Fields, Forward, LossHead, LossOutputs, Step
from .alignments import Alignment, align, checked_alignment
from .base import Part, Reads, UniformDraws, needs_of
from .metrics import confidence
from .policies import policy_module, weigh
from .prediction import Prediction
from .queues import unit_rows


@dataclass(frozen=True)
class SmoothedLabels:
    """The pseudo-labels of a batch, without gradients.

    Attributes:
        aligned: What is predicted (N, C), after the alignment.
        targets: The same after it was smoothed by similar rows (N, C).
        weights: How much each row counts (N,).
    """

    aligned: Tensor
    targets: Tensor
    weights: Tensor


class EmbeddingLossHead(UniformDraws, LossHead):
    """Makes pseudo-labels of what is predicted for a row and for rows with similar embeddings.

    A head says in :meth:`smoothed` how similar rows change a prediction.

    Args:
        reads: The data and networks that it reads; the views are those of pseudo-labels and of
            what is learned from them.
        projector: The network from the features of `reads.network` to embeddings (N, D).
        teacher_projector: That from the features of `reads.teacher_network`.
        alignment: Changes the predictions before they are smoothed; null leaves them.
        policy: The confidence needed, in [0, 1], of a smoothed prediction, or a policy.
    """

    def __init__(
        self,
        reads: Reads,
        projector: str,
        teacher_projector: str,
        alignment: Alignment | None,
        policy: float | nn.Module,
    ) -> None:
        super().__init__()
        self.reads = reads
        self.projector, self.teacher_projector = projector, teacher_projector
        self.alignment = checked_alignment(alignment)
        self.policy = policy_module(policy)
        parts: list[Part] = [self.policy] if alignment is None else [alignment, self.policy]
        self._parts = tuple(parts)
        self._needs = needs_of(parts)

    def build(self, networks: Networks, facts: DataFacts) -> None:
        """Has the parts create their state."""
        for part in self._parts:
            part.build(networks, facts, self.reads)

    def forwards(self, fields: Fields) -> dict[str, Forward]:
        """Asks for predictions and embeddings of both views and of the labeled rows."""
        reads = self.reads
        labelled = reads.labelled
        if reads.teacher_network != reads.network:
            through, norm = reads.teacher_network, reads.teacher_norm
            labelled = replace(labelled, through=through, norm=norm)
        return {
            "teacher": reads.teacher,
            "teacher.features": self._by_teacher(reads.teacher),
            "learner": reads.learner,
            "learner.features": self.embedded(reads.learner_view),
            "labelled.features": self._by_teacher(labelled),
            "target": reads.needed("target"),
        } | {f"need.{need}": reads.needed(need) for need in self._needs}

    def embedded(self, view: str) -> Forward:
        """The request for the embeddings of a view of the unlabeled rows, with gradients."""
        return Forward(self.reads.by_learner(view).part("features"), self.projector)

    def _by_teacher(self, predicted: Forward) -> Forward:
        return Forward(predicted.part("features"), self.teacher_projector, grad=False)

    @torch.no_grad()
    def judge(self, outputs: Mapping[str, Any], step: Step) -> SmoothedLabels:
        """Makes pseudo-labels, and moves the state of the parts in training.

        Args:
            outputs: What the head received.
            step: Where training stands.
        """
        needed = {need: outputs[f"need.{need}"] for need in self._needs}
        prediction = Prediction(outputs["teacher"]["logits"], **needed)
        prediction = align(self.alignment, prediction, updates=self.training)
        aligned = prediction.probabilities
        features = unit_rows(outputs["teacher.features"])
        targets = self.smoothed(aligned, features, step)
        logits = targets.clamp_min(torch.finfo(targets.dtype).tiny).log()
        smoothed = replace(prediction, alignment=logits)
        weights = weigh(self.policy, smoothed, updates=self.training)
        return SmoothedLabels(aligned, targets, weights)

    def smoothed(self, probabilities: Tensor, features: Tensor, step: Step) -> Tensor:
        """How similar rows change predictions (N, C) of rows with embeddings (N, D) of norm 1."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it smooths")

    def learned(self, outputs: Mapping[str, Any]) -> Tensor:
        """The learner's logits (N, C) that the loss compares with targets."""
        logits: Tensor = outputs["learner"]["logits"]
        return logits if self.alignment is None else self.alignment.of_learner(logits)

    def metrics(self, outputs: Mapping[str, Any], losses: LossOutputs) -> Mapping[str, Tensor]:
        """Metrics `mask_rate`, the mean weight, `confidence`, and those of the policy."""
        weights = losses.terms["pseudo_label"].weights
        assert weights is not None, "pseudo-labels have weights"
        rate = {"mask_rate": weights.mean()}
        return {**rate, **confidence(outputs["teacher"]["logits"]), **self.policy.metrics()}

    def after_step(self, step: Step) -> None:
        """Tells the parts that an optimizer step was made."""
        for part in self._parts:
            part.after_step(step)
