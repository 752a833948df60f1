"""Which pseudo-labels count, in NumPy: relative and falling thresholds, rates of classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .losses import cross_entropy, softmax

Floats = NDArray[np.float64]


def adamatch_threshold(labeled: ArrayLike, target: ArrayLike, threshold: float) -> float:
    """tau times the mean of the largest probabilities of labeled rows, arXiv 2106.04732, 3.2.3."""
    pairs = zip(softmax(labeled), np.asarray(target), strict=True)
    largest = [max(p) for p, y in pairs if y >= 0]
    return float(threshold * sum(largest) / len(largest))


def dash_threshold(
    rho_hat: float, k: int, gamma: float = 1.27, c: float = 1.0001, rho_min: float = 0.05
) -> float:
    """max(C gamma^-(k-1) rho_hat, rho_min), arXiv 2109.00650, algorithm 1."""
    rho = c * rho_hat
    for _ in range(k - 1):
        rho /= gamma
    return max(rho, rho_min)


def sharpened(logits: ArrayLike, temperature: float) -> Floats:
    """p^(1/T), normalized, for every row."""
    powers = softmax(logits) ** (1 / temperature)
    return np.array([row / row.sum() for row in powers])


def label_losses(logits: ArrayLike, target: ArrayLike) -> list[float]:
    """-log p_y of the rows that have a label."""
    pairs = zip(softmax(logits), np.asarray(target), strict=True)
    return [float(-np.log(p[y])) for p, y in pairs if y >= 0]


def own_losses(logits: ArrayLike, temperature: float | None) -> Floats:
    """Each row's cross-entropy with its most likely class, or with its sharpened prediction."""
    p = softmax(logits)
    if temperature is None:
        return np.array([-np.log(max(row)) for row in p])
    return cross_entropy(sharpened(logits, temperature), logits)


def abc_rates(counts: Sequence[int], share: float) -> Floats:
    """1 - a (1 - min_k n_k / n_c), arXiv 2110.10368, section 3.3."""
    return np.array([1 - share * (1 - min(counts) / count) for count in counts])


def uda(weak: ArrayLike, strong: ArrayLike, threshold: float, temperature: float) -> Floats:
    """1[max p_w >= tau] KL(sharpened p_w || p_s) for every row, arXiv 1904.12848."""
    losses = []
    for p, q, s in zip(softmax(weak), sharpened(weak, temperature), softmax(strong), strict=True):
        divergence = sum(q[c] * np.log(q[c] / s[c]) for c in range(len(q)))
        losses.append(divergence if max(p) >= threshold else 0.0)
    return np.array(losses)
