"""Virtual adversarial training of a linear classifier in NumPy, row by row."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .losses import softmax

Array = NDArray[np.float64]


def change(
    x: Array, weight: Array, bias: Array, drawn: Array, *, epsilon: float, xi: float, steps: int
) -> Array:
    """The change of a row that hurts most: arXiv 1704.03976, equations 9 to 12.

    For logits z = W x + b and q = softmax(z(x + r)) the gradient of KL(p || q) with respect to r is
    W^T (q - p).
    """
    p = softmax([weight @ x + bias])[0]
    d = drawn / np.sqrt((drawn**2).sum())
    for _ in range(steps):
        q = softmax([weight @ (x + xi * d) + bias])[0]
        gradient = weight.T @ (q - p)
        d = gradient / np.sqrt((gradient**2).sum())
    return epsilon * d


def divergence(x: Array, weight: Array, bias: Array, r: Array) -> float:
    """KL(p(x) || p(x + r))."""
    p = softmax([weight @ x + bias])[0]
    q = softmax([weight @ (x + r) + bias])[0]
    return float(sum(p[c] * np.log(p[c] / q[c]) for c in range(len(p))))


def losses(
    rows: ArrayLike, weight: ArrayLike, bias: ArrayLike, drawn: ArrayLike, **settings: float
) -> tuple[Array, Array]:
    """The divergence of each row, and its change."""
    w, b = np.asarray(weight, dtype=np.float64), np.asarray(bias, dtype=np.float64)
    pairs = list(zip(np.asarray(rows), np.asarray(drawn), strict=True))
    changes = [change(x, w, b, d, **settings) for x, d in pairs]  # type: ignore[arg-type]
    found = [divergence(x, w, b, r) for (x, _), r in zip(pairs, changes, strict=True)]
    return np.array(found), np.array(changes)
