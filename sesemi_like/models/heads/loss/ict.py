"""Interpolation consistency: between two images, predictions lie between the teacher's.

Shapes: N unlabeled rows, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ....errors import suggest
from .base import Fields, Forward, LossHead, LossOutputs, Step
from .parts.base import Norm
from .parts.metrics import top1_hits
from .parts.mixing import Mixing, Mixup, blend
from .pseudo_label import squared_difference

BLENDS = ("logits", "probabilities")


class ICTLossHead(LossHead):
    """Asks that what is predicted for a mixed row be the mix of the teacher's predictions.

    Verma et al., "Interpolation consistency training for semi-supervised learning", 2019, arXiv
    1903.03825, algorithm 1. With z(u) what the EMA teacher answers, without gradients, a partner v
    of each row u by a permutation of the batch, and ``share ~ Beta(alpha, alpha)``::

        q    = softmax(share z(u) + (1 - share) z(v))                    blends: logits
        q    = share softmax z(u) + (1 - share) softmax z(v)             blends: probabilities
        loss = 1/C sum_c (q_c - p_c(share u + (1 - share) v))^2

    The paper averages over all rows: reduction ``mean``. Its weight grows from zero along
    exp(-5 (1 - t)^2); see `sesemi_like.schedulers.SigmoidSchedule`.

    Args:
        input_data: The loader of unlabeled rows.
        view: The view that is mixed.
        network: The network that learns; it returns `logits` (N, C).
        teacher: The network that predicts the rows that are mixed.
        mixing: How two rows become one; null is the public code's `parts.Mixup` of alpha 1, with
            one share for all rows, as it was drawn.
        blends: What of the teacher's predictions is mixed: ``logits``, as in the authors' code, or
            ``probabilities``.
        norm: What BatchNorm does for the mixed rows: update | batch | eval, see :class:`Forward`.
        teacher_norm: What BatchNorm does for the teacher, which normalizes by its batch in the
            authors' code.

    Raises:
        ValueError: If there is nothing of that name to mix.

    Example::

        regularization_loss_heads:
          ict:
            head: {_target_: sesemi_like.models.heads.loss.ICTLossHead}
            scheduler: {_target_: sesemi_like.schedulers.SigmoidSchedule, duration: 40000}
            scale_factor: 100
    """

    def __init__(
        self,
        input_data: str = "unlabeled",
        view: str = "weak",
        network: str = "classifier",
        teacher: str = "teacher",
        mixing: Mixing | None = None,
        blends: str = "logits",
        norm: Norm = "update",
        teacher_norm: Norm = "batch",
    ) -> None:
        super().__init__()
        if blends not in BLENDS:
            raise ValueError(f"blends: found {blends!r}; {suggest(blends, BLENDS, noun='choices')}")
        self.input_data = input_data
        self.view = view
        self.network = network
        self.teacher = teacher
        self.mixing = mixing or Mixup(1.0, per_row=False, at_least_half=False)
        self.blends = blends
        self.norm = norm
        self.teacher_norm = teacher_norm

    def forwards(self, fields: Fields) -> dict[str, Forward]:
        """Asks for the teacher's predictions, and for the mixed rows through the network."""
        rows = f"{self.input_data}.{self.view}"
        teacher = Forward(rows, self.teacher, grad=False, norm=self.teacher_norm)
        mixed = Forward((rows, teacher), "self.mix", grad=False)
        return {
            "labels": mixed.part("labels"),
            "rows": Forward(mixed.part("rows"), self.network, norm=self.norm),
        }

    def mix(
        self, rows: Tensor, teacher: Mapping[str, Any], generator: torch.Generator
    ) -> dict[str, Any]:
        """Mixes each row with a partner, and what the teacher predicts for both.

        Args:
            rows: (N, ...), floating point.
            teacher: What was answered for them, with `logits` (N, C).
            generator: What is drawn from.

        Returns:
            `rows` (N, ...); `labels`: `targets` (N, C), `shares` and `others` (N,).
        """
        others = torch.randperm(len(rows), generator=generator).to(rows.device)
        mixed, shares = self.mixing(rows, rows[others], generator)
        logits: Tensor = teacher["logits"]
        if self.blends == "logits":
            targets = blend(shares, logits, logits[others]).softmax(dim=1)
        else:
            predicted = logits.softmax(dim=1)
            targets = blend(shares, predicted, predicted[others])
        return {"rows": mixed, "labels": {"targets": targets, "shares": shares, "others": others}}

    def forward(self, outputs: Mapping[str, Any], step: Step) -> LossOutputs:
        """The distance of each mixed row."""
        losses = squared_difference(outputs["rows"]["logits"], outputs["labels"]["targets"])
        return LossOutputs(losses)

    def metrics(self, outputs: Mapping[str, Any], losses: LossOutputs) -> Mapping[str, Tensor]:
        """Metrics `agreement`, the share of rows with the class of their target, `confidence`."""
        targets: Tensor = outputs["labels"]["targets"]
        hits = top1_hits(outputs["rows"]["logits"], targets.argmax(dim=1))
        return {"agreement": hits.float().mean(), "confidence": targets.amax(dim=1).mean()}
