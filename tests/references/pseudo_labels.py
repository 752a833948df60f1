"""Methods of pseudo-labels in NumPy, row by row, as their papers write them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from references.losses import softmax


def pseudo_label(logits: ArrayLike, threshold: float) -> float:
    """Equations 15 and 16 of Lee 2013: the mean of -log p_c, c the class that p is largest at.

    Args:
        logits: Of the unlabeled rows (N, C).
        threshold: The probability that a row needs; 0 in the paper.
    """
    total = 0.0
    for p in softmax(logits):
        if max(p) >= threshold:
            total -= np.log(max(p))
    return float(total / len(np.asarray(logits)))
