"""Metrics that several heads report: detached scalars by name.

Shapes: N rows, C classes.
"""

from __future__ import annotations

from torch import Tensor


def top1(logits: Tensor, target: Tensor) -> dict[str, Tensor]:
    """The share of rows whose most likely class is the target.

    Args:
        logits: Predictions (N, C).
        target: Class indices (N,).

    Returns:
        ``{"top1": in [0, 1]}``, nan when there are no rows, as they have no accuracy.
    """
    return {"top1": top1_hits(logits, target).float().mean()}


def top1_hits(logits: Tensor, target: Tensor) -> Tensor:
    """Returns for each row whether its most likely class is the target.

    Args:
        logits: Predictions (N, C).
        target: Class indices (N,).

    Returns:
        bool (N,).
    """
    return logits.detach().argmax(dim=1) == target


def confidence(logits: Tensor) -> dict[str, Tensor]:
    """The largest probability of a row, its mean over the rows.

    Args:
        logits: Predictions (N, C), N at least 1.

    Returns:
        ``{"confidence": in [1 / C, 1]}``.
    """
    return {"confidence": logits.detach().softmax(dim=1).amax(dim=1).mean()}


def class_thresholds(thresholds: Tensor) -> dict[str, Tensor]:
    """What is logged of one threshold per class.

    Args:
        thresholds: The confidence that each class needs (C,).

    Returns:
        ``{"threshold": their mean, "lowest_threshold": the least, "highest_threshold": the
        greatest}``.
    """
    lowest, highest = thresholds.aminmax()
    names = ("threshold", "lowest_threshold", "highest_threshold")
    return dict(zip(names, (thresholds.mean(), lowest, highest), strict=True))
