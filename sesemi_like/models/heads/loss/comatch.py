"""CoMatch: pseudo-labels and embeddings make each other better.

Shapes: N unlabeled rows, T those of all processes, M labeled rows, C classes, D features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....config.facts import DataFacts
from ....distributed import gather_rows, rank
from ...networks import Networks
from .base import Fields, Forward, LossOutputs, LossValues, Step
from .parts.alignments import Alignment
from .parts.base import Reads
from .parts.embedding import EmbeddingLossHead, SmoothedLabels
from .parts.queues import FeatureQueue, products, unit_rows

_TINY = 1e-7
"""What the public code adds to a probability before its logarithm."""


class CoMatchLossHead(EmbeddingLossHead):
    """Pseudo-labels smoothed by similar rows, and embeddings that follow the pseudo-labels' graph.

    Li et al., "CoMatch: semi-supervised learning with contrastive graph regularization", 2021,
    arXiv 2011.11183, equations 4 to 10. A projector makes embeddings z of norm 1. With the aligned
    prediction p of the weak view, its embedding, and a queue of embeddings and predictions of
    earlier rows, both without gradients::

        a    = softmax over the queue of z z_k / t
        q    = alpha p + (1 - alpha) sum_k a_k p_k
        loss = 1[max q >= threshold] H(q, p(strong view))                       pseudo_label

    and, with the graph W of a batch, ``W_ij = q_i q_j`` where that is at least `graph_threshold`
    and else 0, ``W_ii = 1``, its rows divided by their sums, with z and z' of two strong views::

        loss = - sum_j W_ij log(softmax over j of z_i z'_j / t)                 contrast

    The queue holds the newest p, before they are smoothed, and labeled rows with their classes. The
    paper divides both by the number of unlabeled rows: reduction ``mean``.

    The graph is of the rows of all processes, as if one had them all; that of the public code is of
    those of each.

    Args:
        input_data: The loader of unlabeled images.
        weak: The view that pseudo-labels are made from.
        strong: The view that is learned from.
        strong_2: A second one, whose embeddings are compared with those of the first.
        network: The network that learns; it returns `logits` (N, C) and `features`.
        projector: The network from its features to embeddings (N, D), such as `heads.MLPHead` in
            `model.networks`; it knows its ``out_features``.
        alignment: Changes the predictions, such as `parts.QueueAlignment`, the paper's; null leaves
            them.
        policy: The confidence needed, in [0, 1], of a smoothed prediction, or a policy.
        alpha: How much a prediction keeps of itself, in [0, 1].
        temperature: t, above 0.
        graph_threshold: How alike two pseudo-labels must be for an edge, in [0, 1].
        contrast_weight: What the contrast is multiplied by.
        queue_length: The rows of the queue. The paper's has those of 5 steps,
            5 * (labeled + unlabeled rows of a batch of all processes).
        smoothing_start: The step after which predictions are smoothed, when the queue is full.
        labelled_data: The loader of labeled images.
        labelled_view: Its view.
        labelled_target: Its field of classes, -1 for none.

    Raises:
        ValueError: If a setting is outside its range.

    Example::

        networks:
          projector: {_target_: sesemi_like.models.heads.MLPHead, out_features: 64, norm: false}
        regularization_loss_heads:
          comatch:
            head: {_target_: sesemi_like.models.heads.loss.CoMatchLossHead}
    """

    queue: FeatureQueue

    def __init__(
        self,
        input_data: str = "unlabeled",
        weak: str = "weak",
        strong: str = "strong",
        strong_2: str = "strong_2",
        network: str = "classifier",
        projector: str = "projector",
        alignment: Alignment | None = None,
        policy: float | nn.Module = 0.95,
        alpha: float = 0.9,
        temperature: float = 0.2,
        graph_threshold: float = 0.8,
        contrast_weight: float = 1.0,
        queue_length: int = 2560,
        smoothing_start: int = 5,
        labelled_data: str = "supervised",
        labelled_view: str = "image",
        labelled_target: str = "target",
    ) -> None:
        reads = Reads(
            input_data, weak, strong, network, network,
            labelled_data, labelled_view, labelled_target,
        )  # fmt: skip
        super().__init__(reads, projector, projector, alignment, policy)
        for name, share in {"alpha": alpha, "graph_threshold": graph_threshold}.items():
            if not 0 <= share <= 1:
                raise ValueError(f"{name}: found {share}; needs a number in [0, 1]")
        if temperature <= 0:
            raise ValueError(f"temperature: found {temperature}; needs a number above 0")
        self.strong_2 = strong_2
        self.alpha, self.temperature = alpha, temperature
        self.graph_threshold = graph_threshold
        self.contrast_weight = contrast_weight
        self.queue_length = queue_length
        self.smoothing_start = smoothing_start

    def build(self, networks: Networks, facts: DataFacts) -> None:
        """Creates the queue."""
        super().build(networks, facts)
        features = networks.feature_size(self.projector)
        classes = networks.num_classes(self.reads.network)
        self.queue = FeatureQueue(self.queue_length, features, classes)

    def forwards(self, fields: Fields) -> dict[str, Forward]:
        """Asks for the second strong view as well."""
        return super().forwards(fields) | {"second.features": self.embedded(self.strong_2)}

    def forward(self, outputs: Mapping[str, Any], step: Step) -> LossOutputs:
        """The loss of the pseudo-labels and the contrast, a row each."""
        labels = self.judge(outputs, step)
        if self.training:
            self._remember(outputs, labels)
        losses = F.cross_entropy(self.learned(outputs), labels.targets, reduction="none")
        first, second = (unit_rows(outputs[f"{x}.features"]) for x in ("learner", "second"))
        contrast = self._contrast(first, second, labels.targets)
        return LossOutputs(
            {
                "pseudo_label": LossValues(losses, labels.weights),
                "contrast": LossValues(contrast, coefficient=self.contrast_weight),
            }
        )

    def smoothed(self, probabilities: Tensor, features: Tensor, step: Step) -> Tensor:
        """Predictions moved towards those of the queue (N, C), once it is full."""
        if step.index <= self.smoothing_start:
            return probabilities
        return self.queue.smooth(
            probabilities, features, alpha=self.alpha, temperature=self.temperature
        )

    def _remember(self, outputs: Mapping[str, Any], labels: SmoothedLabels) -> None:
        """Puts the unlabeled rows of all processes into the queue, then the labeled ones."""
        self.queue.push(unit_rows(outputs["teacher.features"]), labels.aligned)
        target = outputs["target"]
        known = F.one_hot(target.clamp(min=0), labels.aligned.shape[1])
        self.queue.push(unit_rows(outputs["labelled.features"]), known, target >= 0)

    def _contrast(self, first: Tensor, second: Tensor, targets: Tensor) -> Tensor:
        """The contrast of each row (N,), of embeddings (N, D) and pseudo-labels (N, C)."""
        rows = torch.arange(len(first), device=first.device)
        process = torch.full_like(rows, rank())
        own = torch.stack([process, rows], dim=1)
        is_self = (own[:, None] == self._of_all(own)).all(dim=2)
        graph = products(targets, self._of_all(targets))
        graph = graph.masked_fill(is_self, 1)
        graph = graph.where(graph >= self.graph_threshold, 0)
        graph = graph / graph.sum(dim=1, keepdim=True)
        similarities = products(first, self._of_all(second)) / self.temperature
        return -(graph * (similarities.softmax(dim=1) + _TINY).log()).sum(dim=1)

    def _of_all(self, rows: Tensor) -> Tensor:
        """The rows of all processes; in evaluation, where they may have other batches, its own."""
        return gather_rows(rows) if self.training else rows
