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
