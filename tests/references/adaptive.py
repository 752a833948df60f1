"""FlexMatch, FreeMatch and SoftMatch in NumPy, row by row and class by class, as papers write them.

Each function takes the batches of a run in their order, and follows its state through them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .losses import softmax

Floats = NDArray[np.float64]

MAPPINGS = {
    "convex": lambda x: x / (2 - x),
    "linear": lambda x: x,
    "concave": lambda x: np.log(x + 1) / np.log(2),
}


def probabilities(logits: ArrayLike) -> Floats:
    """The softmax of a batch (N, C), which may have no rows."""
    rows = np.asarray(logits, dtype=np.float64)
    return softmax(rows).reshape(rows.shape)


def flexmatch(
    batches: Sequence[tuple[ArrayLike, ArrayLike]],
    num_rows: int,
    threshold: float = 0.95,
    mapping: str = "convex",
    warm_up: bool = True,
) -> list[dict[str, Any]]:
    """Algorithm 1 of arXiv 2110.08263 with rows that reach a threshold kept.

    Args:
        batches: Logits and indices of each.
        num_rows: N, the unlabeled rows there are.
        threshold: tau.
        mapping: M.
        warm_up: Whether equation 11 holds, else 6.

    Returns:
        For each batch its mask, and after it the labels by index (-1 for none) and beta.
    """
    labels: dict[int, int] = {}
    steps: list[dict[str, Any]] = []
    for logits, index in batches:
        p = probabilities(logits)
        classes = p.shape[1]
        beta = _beta(labels, classes, num_rows, warm_up)
        mask = []
        for row in p:
            c = int(np.argmax(row))
            mask.append(float(row[c] >= MAPPINGS[mapping](beta[c]) * threshold))
        for i, row in zip(np.asarray(index), p, strict=True):
            if row.max() >= threshold:
                labels[int(i)] = int(np.argmax(row))
        beta = _beta(labels, classes, num_rows, warm_up)
        steps.append({"mask": mask, "labels": dict(labels), "beta": beta})
    return steps


def _beta(labels: dict[int, int], classes: int, num_rows: int, warm_up: bool) -> list[float]:
    sigma = [sum(1 for label in labels.values() if label == c) for c in range(classes)]
    if not sum(sigma):
        return [0.0] * classes
    unused = num_rows - sum(sigma)
    return [s / max(*sigma, unused if warm_up else 0) for s in sigma]


def freematch(
    batches: Sequence[ArrayLike],
    momentum: float = 0.999,
    threshold_range: tuple[float, float] = (0, 1),
    global_range: tuple[float, float] = (0, 1),
) -> list[dict[str, Any]]:
    """Equations 5 to 8 of arXiv 2205.07246: masks, tau_t and tau_t(c) of the batches' logits."""
    tau: Any = None
    p_model: Floats = np.zeros(0)
    steps = []
    for logits in batches:
        p = probabilities(logits)
        classes = p.shape[1]
        if tau is None:
            tau, p_model = 1 / classes, np.full(classes, 1 / classes)
        if len(p):
            tau = momentum * tau + (1 - momentum) * sum(max(row) for row in p) / len(p)
            tau = min(max(tau, global_range[0]), global_range[1])
            p_model = momentum * p_model + (1 - momentum) * sum(row / len(p) for row in p)
        of_class = [p_model[c] / max(p_model) * tau for c in range(classes)]
        of_class = [min(max(t, threshold_range[0]), threshold_range[1]) for t in of_class]
        mask = [float(row.max() >= of_class[int(np.argmax(row))]) for row in p]
        steps.append({"mask": mask, "global": tau, "thresholds": of_class})
    return steps


def fairness(
    batches: Sequence[tuple[ArrayLike, ArrayLike, ArrayLike]], momentum: float = 0.999
) -> list[float]:
    """Equations 9 to 11 of arXiv 2205.07246.

    Args:
        batches: Of each the teacher's logits, the learner's, and the mask.
        momentum: lambda of the averages.

    Returns:
        The loss of each batch, 0 where the mask is.
    """
    classes = np.asarray(batches[0][0]).shape[1]
    p_model, h_model = np.full(classes, 1 / classes), np.full(classes, 1 / classes)
    losses = []
    for teacher, learner, mask in batches:
        q, p = probabilities(teacher), probabilities(learner)
        if len(q):
            p_model = momentum * p_model + (1 - momentum) * sum(row / len(q) for row in q)
            h_model = momentum * h_model + (1 - momentum) * _histogram(q)
        kept = p[np.asarray(mask) > 0]
        if not len(kept):
            losses.append(0.0)
            continue
        wanted = _sum_norm(p_model, h_model)
        found = _sum_norm(kept.mean(axis=0), _histogram(kept))
        losses.append(sum(wanted[c] * np.log(found[c] + 1e-12) for c in range(classes)))
    return losses


def _histogram(p: Floats) -> Floats:
    counts = [sum(1 for row in p if np.argmax(row) == c) for c in range(p.shape[1])]
    return np.array(counts) / len(p)


def _sum_norm(upper: Floats, lower: Floats) -> Floats:
    ratio = np.array([u / w if w else 0.0 for u, w in zip(upper, lower, strict=True)])
    return ratio / ratio.sum()


def softmatch(
    batches: Sequence[ArrayLike], momentum: float = 0.999, n_sigma: float = 2
) -> list[dict[str, Any]]:
    """Equations 5 to 8 of arXiv 2301.10921 of the batches' logits, with 2 v / n_sigma^2.

    Returns:
        For each batch its weights, and the mean and the variance after it.
    """
    mean: Any = None
    variance = 1.0
    steps = []
    for logits in batches:
        p = probabilities(logits)
        mean = 1 / p.shape[1] if mean is None else mean
        confidence = [max(row) for row in p]
        n = len(confidence)
        if n:
            of_batch = sum(confidence) / n
            mean = momentum * mean + (1 - momentum) * of_batch
            if n > 1:
                unbiased = sum((c - of_batch) ** 2 for c in confidence) / (n - 1)
                variance = momentum * variance + (1 - momentum) * unbiased
        weights = [
            1.0 if c >= mean else np.exp(-((c - mean) ** 2) / (2 * variance / n_sigma**2))
            for c in confidence
        ]
        steps.append({"weights": weights, "mean": mean, "variance": variance})
    return steps
