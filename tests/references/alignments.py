"""Distribution alignment in NumPy: averages of batches, and what they make of probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def running_averages(
    batches: Sequence[Floats], momentum: float, initial: ArrayLike | None
) -> Floats:
    """m <- momentum m + (1 - momentum) mean(batch) after every batch; None is the first's mean."""
    value = None if initial is None else np.asarray(initial, dtype=np.float64)
    values = []
    for batch in batches:
        if len(batch):
            mean = sum(row / len(batch) for row in batch)
            value = mean if value is None else momentum * value + (1 - momentum) * mean
        assert value is not None
        values.append(value)
    return np.array(values)


def aligned(
    probabilities: Floats, target: ArrayLike, found: ArrayLike, eps: float = 1e-6
) -> Floats:
    """Normalize(p (t + eps) / (m + eps)) for every row, arXiv 1911.09785, section 3.1."""
    t, m = np.asarray(target), np.asarray(found)
    rows = [[p[c] * (t[c] + eps) / (m[c] + eps) for c in range(len(p))] for p in probabilities]
    return np.array([np.array(row) / sum(row) for row in rows]).reshape(probabilities.shape)
