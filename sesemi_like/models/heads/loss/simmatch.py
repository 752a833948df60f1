"""SimMatch: two views are alike in their classes, and in which labeled rows they are similar to.

Shapes: N unlabeled rows, C classes, D features, K rows of the bank.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....config.facts import DataFacts
from ...networks import Networks
from .base import Fields, Forward, LossOutputs, LossValues, Step
from .parts.alignments import Alignment
from .parts.base import Norm, Reads
from .parts.embedding import EmbeddingLossHead
from .parts.queues import InstanceBank, unit_rows


class SimMatchLossHead(EmbeddingLossHead):
    """Pseudo-labels of classes, and of similarities to labeled rows, which correct each other.

    Zheng et al., "SimMatch: semi-supervised learning with similarity matching", 2022,
    arXiv 2203.06915, equations 4 to 12. A projector makes embeddings z of norm 1, and a bank holds
    one of each labeled row, with its class. With the aligned prediction p of the weak view and its
    embedding, without gradients, and a softmax over the bank::

        a    = softmax(z bank / t)
        q_c  = alpha p_c + (1 - alpha) sum of a_k over rows k of class c
        v_k  = a_k p_(class of k), divided by the sum over k
        loss = 1[max q >= threshold] H(q, p(strong view))                       pseudo_label
        loss = H(v, softmax(z(strong view) bank / t))                           instance

    Both are divided by the number of unlabeled rows: reduction ``mean``. In the first `start_epoch`
    epochs the bank is filled: q is p, and the second loss is zero. The bank follows the labeled
    rows of a batch after it was read: with a teacher it takes the teacher's embeddings, as the
    paper does for ImageNet; without one ``0.7 old + 0.3 new``, divided by its norm, as for CIFAR
    and SVHN.

    Args:
        input_data: The loader of unlabeled images.
        weak: The view that pseudo-labels are made from.
        strong: The view that is learned from.
        network: The network that learns; it returns `logits` (N, C) and `features`.
        projector: The network from its features to embeddings (N, D), such as `heads.MLPHead` in
            `model.networks`; it knows its ``out_features``.
        teacher: The network that makes the pseudo-labels, such as ``teacher``; null is `network`.
        teacher_projector: The network from the teacher's features to embeddings, an average in
            `model.teachers`; null is `projector`.
        alignment: Changes the predictions, such as `parts.QueueAlignment`, the paper's; null leaves
            them.
        policy: The confidence needed, in [0, 1], of q, or a policy.
        alpha: How much a prediction keeps of itself, in [0, 1].
        temperature: t, above 0.
        instance_weight: What the loss of similarities is multiplied by.
        bank_momentum: How much of an embedding of the bank stays, in [0, 1); null is 0 with a
            teacher and 0.7 without.
        start_epoch: The epochs that fill the bank.
        teacher_norm: What BatchNorm does for the weak view, and with a teacher for its labeled
            rows: update | batch | eval, see :class:`Forward`.
        labelled_data: The loader of labeled images, which has the field `index`.
        labelled_view: Its view.
        labelled_target: Its field of classes, -1 for none.

    Raises:
        ValueError: If a setting is outside its range.

    Example::

        networks:
          projector: {_target_: sesemi_like.models.heads.MLPHead, out_features: 128, norm: false}
        regularization_loss_heads:
          simmatch:
            head: {_target_: sesemi_like.models.heads.loss.SimMatchLossHead}
    """

    bank: InstanceBank

    def __init__(
        self,
        input_data: str = "unlabeled",
        weak: str = "weak",
        strong: str = "strong",
        network: str = "classifier",
        projector: str = "projector",
        teacher: str | None = None,
        teacher_projector: str | None = None,
        alignment: Alignment | None = None,
        policy: float | nn.Module = 0.95,
        alpha: float = 0.9,
        temperature: float = 0.1,
        instance_weight: float = 1.0,
        bank_momentum: float | None = None,
        start_epoch: int = 1,
        teacher_norm: Norm = "update",
        labelled_data: str = "supervised",
        labelled_view: str = "image",
        labelled_target: str = "target",
    ) -> None:
        reads = Reads(
            input_data, weak, strong, network, teacher or network,
            labelled_data, labelled_view, labelled_target, teacher_norm,
        )  # fmt: skip
        super().__init__(reads, projector, teacher_projector or projector, alignment, policy)
        if bank_momentum is None:
            bank_momentum = 0.7 if teacher is None else 0.0
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha: found {alpha}; needs a number in [0, 1]")
        if not 0 <= bank_momentum < 1:
            raise ValueError(f"bank_momentum: found {bank_momentum}; needs a number in [0, 1)")
        if temperature <= 0:
            raise ValueError(f"temperature: found {temperature}; needs a number above 0")
        self.alpha, self.temperature = alpha, temperature
        self.instance_weight = instance_weight
        self.bank_momentum = bank_momentum
        self.start_epoch = start_epoch

    def build(self, networks: Networks, facts: DataFacts) -> None:
        """Creates the bank.

        Raises:
            ConfigError: If the labeled rows are a stream of unknown length.
        """
        super().build(networks, facts)
        loader = self.reads.labelled_data
        indices = facts.num_indices(loader)
        size = sum(facts.class_counts.get(loader, [indices]))
        self.bank = InstanceBank(max(size, 1), networks.feature_size(self.projector), indices)

    def forwards(self, fields: Fields) -> dict[str, Forward]:
        """Asks for the places of the labeled rows as well."""
        index = Forward.field(f"{self.reads.labelled_data}.index")
        return super().forwards(fields) | {"labelled.index": index}

    def forward(self, outputs: Mapping[str, Any], step: Step) -> LossOutputs:
        """The losses of classes and of similarities, a row each; then the bank follows."""
        labels = self.judge(outputs, step)
        losses = F.cross_entropy(self.learned(outputs), labels.targets, reduction="none")
        instance = self._instance(outputs, labels.aligned)
        # In the first epochs this is a zero in the graph, as the parts of the projector need.
        is_used = self.bank.is_begun & (step.epoch >= self.start_epoch)
        terms = {
            "pseudo_label": LossValues(losses, labels.weights),
            "instance": LossValues(instance * is_used, coefficient=self.instance_weight),
        }
        if self.training:
            features = unit_rows(outputs["labelled.features"])
            index, target = outputs["labelled.index"], outputs["target"]
            self.bank.write(index, features, target, self.bank_momentum)
        return LossOutputs(terms)

    def smoothed(self, probabilities: Tensor, features: Tensor, step: Step) -> Tensor:
        """Predictions moved towards the classes of similar labeled rows (N, C)."""
        if step.epoch < self.start_epoch:
            return probabilities
        shares = self._shares(features)
        others = self.bank.by_class(shares, probabilities.shape[1]).to(probabilities)
        smoothed = self.alpha * probabilities + (1 - self.alpha) * others
        return torch.where(self.bank.is_begun, smoothed, probabilities)

    def _shares(self, features: Tensor) -> Tensor:
        return self.bank.similarities(features, self.temperature).softmax(dim=1)

    def _instance(self, outputs: Mapping[str, Any], probabilities: Tensor) -> Tensor:
        """The loss of similarities of each row (N,), with predictions (N, C) of the weak view."""
        with torch.no_grad():
            shares = self._shares(unit_rows(outputs["teacher.features"]))
            shares = shares * self.bank.of_rows(probabilities)
            total = shares.sum(dim=1, keepdim=True)
            target = shares / total.clamp_min(torch.finfo(shares.dtype).tiny)
        learner = unit_rows(outputs["learner.features"])
        similar = self.bank.similarities(learner, self.temperature).log_softmax(dim=1)
        return -(target * similar).sum(dim=1)
