"""ReMixMatch: aligned guesses label weak and strong views, which are mixed with the labeled rows.

Shapes: B labeled rows, N unlabeled rows, K strong views of these, C classes, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....config.facts import DataFacts
from ...networks import Networks, in_float32
from .base import Fields, Forward, LossOutputs, LossValues, Step
from .parts.alignments import Alignment, align, checked_alignment
from .parts.base import Norm, Reads, needs_of
from .parts.metrics import top1_hits
from .parts.mixed_rows import MixedRowsLossHead, at_step
from .parts.mixing import Mixing
from .parts.prediction import Prediction
from .parts.targets import SharpenedTargets, checked_targets
from .pseudo_label import cross_entropy

TURNS = 4


class ReMixMatchLossHead(MixedRowsLossHead):
    """Learns mixed rows from mixed labels, which the weak view guesses for the strong ones.

    Berthelot et al., "ReMixMatch: semi-supervised learning with distribution alignment and
    augmentation anchoring", 2020, arXiv 1911.09785, algorithm 1. For an unlabeled row u, without
    gradients::

        q = sharpen(align(p(weak view of u)), T)

    which labels the weak view and each of the K strong ones. They and the labeled rows are shuffled
    into partners and mixed as in MixMatch. The loss is, reduced by ``mean``::

        1/B sum over mixed labeled rows H(y', p(x'))                                   term labeled
        + weight * 1/((K + 1) N) sum over mixed unlabeled rows H(y', p(x'))          term unlabeled
        + strong_weight * 1/N sum H(q, p(first strong view))                            term strong
        + rotation_weight * 1/N sum -log r_k(first strong view, turned by k * 90 degrees)  rotation

    with k drawn from 0, 1, 2, 3 for each row and r this head's own linear layer on the features. As
    the labeled rows are in it, the supervised loss is switched off beside this head:
    ``supervised_loss: {scale_factor: 0.0}``.

    Args:
        input_data: The loader of unlabeled rows.
        weak: The view that labels are guessed from.
        strong: The K strong views.
        network: The network that learns; it returns `logits` (N, C) and `features` (N, D).
        alignment: The part that aligns guesses, such as the paper's `parts.QueueAlignment`; null
            leaves them.
        targets: The part that maps aligned logits (N, C) to targets (N, C); null is the paper's
            `parts.SharpenedTargets` of temperature 0.5.
        mixing: How two rows become one; null is the paper's `parts.Mixup` of alpha 0.75.
        weight: The weight of the mixed unlabeled rows, lambda_u.
        strong_weight: The weight of the unmixed strong view, lambda_u1; 0 leaves its term out.
        rotation_weight: The weight of rotation prediction, lambda_r, which needs square images; 0
            leaves it out.
        schedule: Multiplies the first two weights over time: a callable step -> float; null is
            constant.
        batches: ``together`` runs all mixed rows as one batch, ``separate`` the labeled rows and
            each view by themselves, of which the labeled ones alone move BatchNorm's running
            statistics.
        norm: What BatchNorm does for rows that are not mixed: update | batch | eval, see
            :class:`Forward`.
        labelled_data: The loader of labeled rows.
        labelled_view: Its view; the paper's is a strong one.
        labelled_target: Its field of classes, -1 for none.

    Raises:
        ValueError: If there is no strong view, a view twice, or no such choice of batches.

    Example::

        supervised_loss: {scale_factor: 0.0}
        regularization_loss_heads:
          remixmatch:
            head:
              _target_: sesemi_like.models.heads.loss.ReMixMatchLossHead
              alignment:
                _target_: sesemi_like.models.heads.loss.parts.QueueAlignment
                target: counts
              rotation_weight: 0.5
    """

    def __init__(
        self,
        input_data: str = "unlabeled",
        weak: str = "weak",
        strong: Sequence[str] = ("strong", "strong_2"),
        network: str = "classifier",
        alignment: Alignment | None = None,
        targets: nn.Module | None = None,
        mixing: Mixing | None = None,
        weight: float = 1.5,
        strong_weight: float = 0.5,
        rotation_weight: float = 0.0,
        schedule: Callable[[int], float] | None = None,
        batches: str = "together",
        norm: Norm = "batch",
        labelled_data: str = "supervised",
        labelled_view: str = "strong",
        labelled_target: str = "target",
    ) -> None:
        if not strong:
            raise ValueError("strong: found no view; needs one at least")
        given = (labelled_data, labelled_view, labelled_target)
        super().__init__(input_data, [weak, *strong], network, mixing, batches, *given)
        names = (input_data, weak, strong[0], network, network)
        self.reads = Reads(*names, *given, teacher_norm=norm, learner_norm=norm)
        self.alignment = checked_alignment(alignment)
        self.targets = checked_targets(targets) or SharpenedTargets(0.5)
        self.weight, self.strong_weight = weight, strong_weight
        self.rotation_weight = rotation_weight
        self.schedule = schedule
        self._needs = needs_of([] if alignment is None else [alignment])

    def build(self, networks: Networks, facts: DataFacts) -> None:
        """Creates the linear layer that tells turns, and the state of the alignment."""
        if self.rotation_weight:
            self.rotate = nn.Linear(networks.feature_size(self.network), TURNS)
        if self.alignment is not None:
            self.alignment.build(networks, facts, self.reads)

    def forwards(self, fields: Fields) -> dict[str, Forward]:
        """Asks for the guessed labels, the mixed rows, and the first strong view as it is."""
        needed = [self.reads.needed(need) for need in self._needs]
        guess = Forward((self.reads.teacher, *needed), "self.guess", grad=False)
        asked = {"guess": guess, **self.mixed_forwards(guess)}
        if self.strong_weight:
            asked["strong"] = self.reads.learner
        if self.rotation_weight:
            turned = Forward(
                f"{self.input_data}.{self.reads.learner_view}", "self.turn", grad=False
            )
            asked["turns"] = turned.part("turns")
            asked["turned"] = replace(self.reads.learner, data=turned.part("images"))
        return asked

    def guess(self, weak: Mapping[str, Any], *needed: Tensor) -> Tensor:
        """Aligns and sharpens what is predicted, and moves the alignment in training.

        Args:
            weak: What was answered for the weak view, with `logits` (N, C).
            *needed: What the alignment needs beside it, in the order of `parts.prediction.NEEDS`.

        Returns:
            Targets (N, C), distributions.
        """
        prediction = Prediction(weak["logits"], **dict(zip(self._needs, needed, strict=True)))
        prediction = align(self.alignment, prediction, updates=self.training)
        targets: Tensor = self.targets(prediction.aligned)
        return targets

    def turn(self, images: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Turns each image by a drawn number of quarter turns, counter-clockwise.

        Args:
            images: (N, D, H, H).
            generator: What is drawn from.

        Returns:
            `images` (N, D, H, H) and `turns` (N,), int64, in [0, 4).

        Raises:
            ValueError: If they are no square images.
        """
        if images.ndim != 4 or images.shape[2] != images.shape[3]:
            expected = "needs square images (N, D, H, H), or rotation_weight: 0"
            raise ValueError(f"rotation: found rows of shape {tuple(images.shape[1:])}; {expected}")
        turns = torch.randint(TURNS, (len(images),), generator=generator).to(images.device)
        turned = images
        for k in range(1, TURNS):
            turned = torch.where((turns == k)[:, None, None, None], images.rot90(k, (2, 3)), turned)
        return {"images": turned, "turns": turns}

    def forward(self, outputs: Mapping[str, Any], step: Step) -> LossOutputs:
        """The terms of the mixed rows, of the strong view, and of its turns."""
        ramp = at_step(self.schedule, step)
        terms = self.mixed_terms(outputs, self._compare, self.weight * ramp)
        if self.strong_weight:
            losses = self._compare(outputs["strong"]["logits"], outputs["guess"])
            terms["strong"] = LossValues(losses, coefficient=self.strong_weight * ramp)
        if self.rotation_weight:
            losses = F.cross_entropy(self._turns(outputs), outputs["turns"], reduction="none")
            terms["rotation"] = LossValues(losses, coefficient=self.rotation_weight)
        return LossOutputs(terms)

    def metrics(self, outputs: Mapping[str, Any], losses: LossOutputs) -> Mapping[str, Tensor]:
        """Metrics `top1`, `confidence` of the guesses, `unlabeled_weight`, `rotation_top1`."""
        metrics = self.mixed_metrics(outputs, losses)
        if self.rotation_weight:
            hits = top1_hits(self._turns(outputs), outputs["turns"])
            metrics["rotation_top1"] = hits.float().mean()
        return metrics

    def after_step(self, step: Step) -> None:
        """Tells the alignment that an optimizer step was made."""
        if self.alignment is not None:
            self.alignment.after_step(step)

    def _compare(self, logits: Tensor, targets: Tensor) -> Tensor:
        if self.alignment is not None:
            logits = self.alignment.of_learner(logits)
        return cross_entropy(logits, targets)

    def _turns(self, outputs: Mapping[str, Any]) -> Tensor:
        return in_float32(self.rotate, outputs["turned"]["features"])
