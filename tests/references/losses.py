"""Losses of the heads in NumPy, row by row and class by class, as their papers write them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def softmax(logits: ArrayLike) -> NDArray[np.float64]:
    """exp(z_c) / sum_k exp(z_k) for every row."""
    rows = [np.exp(np.asarray(row, dtype=np.float64) - np.max(row)) for row in np.asarray(logits)]
    return np.array([row / row.sum() for row in rows])


def cross_entropy(target: ArrayLike, logits: ArrayLike) -> NDArray[np.float64]:
    """H(q, p) = -sum_c q_c log p_c with target distributions q and p = softmax(logits)."""
    pairs = zip(np.asarray(target), softmax(logits), strict=True)
    return np.array([-sum(q[c] * np.log(p[c]) for c in range(len(p))) for q, p in pairs])


def squared_difference(logits: ArrayLike, target_logits: ArrayLike) -> NDArray[np.float64]:
    """1/C sum_c (p_c - q_c)^2: arXiv 1610.02242, algorithm 1, for one row."""
    pairs = zip(softmax(logits), softmax(target_logits), strict=True)
    return np.array([sum((p[c] - q[c]) ** 2 for c in range(len(p))) / len(p) for p, q in pairs])


def kullback_leibler(logits: ArrayLike, target_logits: ArrayLike) -> NDArray[np.float64]:
    """KL(q || p) = sum_c q_c log(q_c / p_c), q the target."""
    pairs = zip(softmax(logits), softmax(target_logits), strict=True)
    return np.array([sum(q[c] * np.log(q[c] / p[c]) for c in range(len(p))) for p, q in pairs])


def entropy(logits: ArrayLike) -> NDArray[np.float64]:
    """-sum_c p_c log p_c."""
    return np.array([-sum(p * np.log(p) for p in row) for row in softmax(logits)])


def one_hot(indices: ArrayLike, classes: int) -> NDArray[np.float64]:
    """A row of zeros with a one at the index."""
    return np.array([[float(c == i) for c in range(classes)] for i in np.asarray(indices)])


def fixmatch(weak: ArrayLike, strong: ArrayLike, threshold: float) -> float:
    """Equation 4 of arXiv 2001.07685: 1/(mu B) sum_b 1(max q_b >= tau) H(argmax q_b, p_b)."""
    total = 0.0
    for q, p in zip(softmax(weak), softmax(strong), strict=True):
        if max(q) >= threshold:
            total += -np.log(p[int(np.argmax(q))])
    return float(total / len(np.asarray(weak)))
