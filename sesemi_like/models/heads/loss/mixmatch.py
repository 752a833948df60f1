"""MixMatch: guessed labels are averaged, sharpened and mixed with the labeled rows.

Shapes: B labeled rows, N unlabeled rows, V views of these, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .base import Fields, Forward, LossOutputs, Step
from .parts.base import Norm
from .parts.mixed_rows import MixedRowsLossHead, at_step
from .parts.mixing import Mixing
from .parts.targets import SharpenedTargets, checked_targets
from .pseudo_label import squared_difference


class MixMatchLossHead(MixedRowsLossHead):
    """Learns mixed rows, labeled and unlabeled, from their mixed labels.

    Berthelot et al., "MixMatch: a holistic approach to semi-supervised learning", 2019, arXiv
    1905.02249, algorithm 1. For an unlabeled row u with V views, without gradients::

        q = sharpen(1/V sum_v p(view v of u), T)
        sharpen(p, T)_c = p_c^(1/T) / sum_k p_k^(1/T)

    All rows, the labeled (x, y) and every view with (view v of u, q), are shuffled into partners
    and mixed, with ``b ~ Beta(alpha, alpha)`` and ``share = max(b, 1 - b)`` of each row. Of the
    mixed rows x' with labels y' the loss is::

        1/B sum over labeled rows H(y', p(x'))                                       term labeled
        + weight * 1/(V N C) sum over unlabeled rows and classes (y'_c - p(x')_c)^2  term unlabeled

    which is reduction ``mean``. As the labeled rows are in it, the supervised loss is switched off
    beside this head: ``supervised_loss: {scale_factor: 0.0}``.

    Args:
        input_data: The loader of unlabeled rows.
        views: Its V views.
        network: The network that learns; it returns `logits` (N, C).
        teacher: The network that guesses; null is the paper's choice, `network` itself.
        targets: The part that maps the logarithm of the mean prediction (N, C) to targets (N, C);
            null is the paper's `parts.SharpenedTargets` of temperature 0.5.
        mixing: How two rows become one; null is the paper's `parts.Mixup` of alpha 0.75.
        weight: The weight of the unlabeled rows beside the labeled ones, lambda_u.
        schedule: Multiplies it over time: a callable step -> float; null is constant.
        batches: ``together`` runs all mixed rows as one batch, ``separate`` the labeled rows and
            each view by themselves, of which the labeled ones alone move BatchNorm's running
            statistics.
        teacher_norm: What BatchNorm does when labels are guessed: update | batch | eval, see
            :class:`Forward`.
        labelled_data: The loader of labeled rows.
        labelled_view: Its view.
        labelled_target: Its field of classes, -1 for none.

    Raises:
        ValueError: If there is no view, one twice, or no such choice of batches.

    Example::

        supervised_loss: {scale_factor: 0.0}
        regularization_loss_heads:
          mixmatch:
            head: {_target_: sesemi_like.models.heads.loss.MixMatchLossHead, weight: 75}
    """

    def __init__(
        self,
        input_data: str = "unlabeled",
        views: Sequence[str] = ("weak", "weak_2"),
        network: str = "classifier",
        teacher: str | None = None,
        targets: nn.Module | None = None,
        mixing: Mixing | None = None,
        weight: float = 75.0,
        schedule: Callable[[int], float] | None = None,
        batches: str = "together",
        teacher_norm: Norm = "batch",
        labelled_data: str = "supervised",
        labelled_view: str = "image",
        labelled_target: str = "target",
    ) -> None:
        given = (labelled_data, labelled_view, labelled_target)
        super().__init__(input_data, views, network, mixing, batches, *given)
        self.teacher = teacher or network
        self.teacher_norm = teacher_norm
        self.targets = checked_targets(targets) or SharpenedTargets(0.5)
        self.weight = weight
        self.schedule = schedule

    def forwards(self, fields: Fields) -> dict[str, Forward]:
        """Asks for the guessed labels, and for the mixed rows through the network."""
        guess = Forward(tuple(map(self._by_teacher, self.views)), "self.guess", grad=False)
        return {"guess": guess, **self.mixed_forwards(guess)}

    def guess(self, *answers: Mapping[str, Any]) -> Tensor:
        """Averages what is predicted for the views, and sharpens it.

        Args:
            *answers: What was answered for each view, with `logits` (N, C).

        Returns:
            Targets (N, C), distributions.
        """
        logs = torch.stack([answer["logits"].log_softmax(dim=1) for answer in answers])
        targets: Tensor = self.targets(logs.logsumexp(dim=0))  # of V times the mean: no difference
        return targets

    def forward(self, outputs: Mapping[str, Any], step: Step) -> LossOutputs:
        """Both terms, of the labeled and of the unlabeled rows."""
        weight = self.weight * at_step(self.schedule, step)
        return LossOutputs(self.mixed_terms(outputs, squared_difference, weight))

    def metrics(self, outputs: Mapping[str, Any], losses: LossOutputs) -> Mapping[str, Tensor]:
        """Metrics `top1` of the labeled rows, `confidence` of the guesses, `unlabeled_weight`."""
        return self.mixed_metrics(outputs, losses)

    def _by_teacher(self, view: str) -> Forward:
        field = f"{self.input_data}.{view}"
        return Forward(field, self.teacher, grad=False, norm=self.teacher_norm)
