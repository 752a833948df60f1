"""FixMatch: the confident prediction on a weak view labels the strong view."""

from __future__ import annotations

from torch import nn

from .pseudo_label import PseudoLabelLossHead


class FixMatchLossHead(PseudoLabelLossHead):
    """Learns from its own confident predictions.

    Sohn et al., "FixMatch: simplifying semi-supervised learning with consistency and confidence",
    2020, arXiv 2001.07685, equation 4. With q = p(weak view), taken as given, for each row::

        loss   = H(onehot(argmax q), p(strong view))      cross-entropy
        weight = 1 if max q >= threshold else 0

    The paper divides by the number of unlabeled rows, confident or not: reduction ``mean``. The
    loss is therefore small while few rows are confident and needs no growing weight; its weight,
    lambda_u, is 1. (``weighted_mean`` divides by the number of confident rows.)

    It is :class:`PseudoLabelLossHead` in the paper's words, without alignment and further terms.

    Args:
        input_data: The loader of unlabeled images.
        weak: The view that pseudo-labels are made from.
        strong: The view that is learned from.
        threshold: The confidence needed, in [0, 1], or a part that maps probabilities (N, C) to
            weights (N,), or a policy.
        targets: The part that maps logits (N, C) to targets (N, C), such as
            `parts.SharpenedTargets`; null is the paper's `parts.HardTargets`.
        network: The network that learns; it returns `logits` (N, C).
        teacher: The network that makes the pseudo-labels, such as ``teacher``; null is the paper's
            choice, `network` itself.

    Raises:
        ValueError: If the threshold is a number outside [0, 1].

    Example::

        regularization_loss_heads:
          fixmatch:
            head:
              _target_: sesemi_like.models.heads.loss.FixMatchLossHead
              threshold: 0.95
    """

    def __init__(
        self,
        input_data: str = "unlabeled",
        weak: str = "weak",
        strong: str = "strong",
        threshold: float | nn.Module = 0.95,
        targets: nn.Module | None = None,
        network: str = "classifier",
        teacher: str | None = None,
    ) -> None:
        super().__init__(
            input_data,
            teacher_view=weak,
            learner_view=strong,
            network=network,
            teacher=teacher,
            targets=targets,
            policy=threshold,
        )
