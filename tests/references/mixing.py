"""Methods that mix rows, in NumPy, row by row and class by class, as their papers write them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from references.losses import cross_entropy, one_hot, softmax

Array = NDArray[np.float64]


def sharpen(probabilities: ArrayLike, temperature: float) -> Array:
    """p_c^(1/T) / sum_k p_k^(1/T): arXiv 1905.02249, equation 7."""
    rows = [np.asarray(p) ** (1 / temperature) for p in np.asarray(probabilities)]
    return np.array([row / row.sum() for row in rows])


def mixmatch_guess(views: Sequence[ArrayLike], temperature: float) -> Array:
    """arXiv 1905.02249, algorithm 1, lines 7 and 8, from the logits of the views."""
    predicted = [softmax(logits) for logits in views]
    return sharpen(sum(predicted[1:], predicted[0]) / len(predicted), temperature)


def mix_rows(rows: ArrayLike, shares: ArrayLike, others: ArrayLike) -> Array:
    """share_i row_i + (1 - share_i) row_others(i)."""
    given, mixed = np.asarray(rows, dtype=np.float64), []
    for i, (share, other) in enumerate(zip(np.asarray(shares), np.asarray(others), strict=True)):
        mixed.append(share * given[i] + (1 - share) * given[other])
    return np.array(mixed).reshape(given.shape)


def labels_of(target: ArrayLike, guess: ArrayLike, views: int) -> Array:
    """The labels of labeled rows, then those of each view."""
    guessed = np.asarray(guess)
    return np.concatenate([one_hot(target, guessed.shape[1]), *[guessed] * views])


def mean_cross_entropy(target: ArrayLike, logits: ArrayLike) -> float:
    """1/N sum of H(q, p); zero for no rows."""
    return float(cross_entropy(target, logits).sum() / max(len(np.asarray(logits)), 1))


def mean_squared_difference(target: ArrayLike, logits: ArrayLike) -> float:
    """1/(N C) sum over rows and classes of (q - p)^2; zero for no rows."""
    pairs = zip(np.asarray(target), softmax(logits), strict=True)
    total = sum((q[c] - p[c]) ** 2 for q, p in pairs for c in range(len(p)))
    return float(total / max(np.asarray(logits).size, 1))


def remixmatch_guess(
    weak: ArrayLike, predicted: ArrayLike, labels: ArrayLike, temperature: float, eps: float = 1e-6
) -> Array:
    """arXiv 1911.09785, algorithm 1, lines 6 and 7, with the small number of its public code."""
    ratio = (np.asarray(labels) + eps) / (np.asarray(predicted) + eps)
    aligned = [p * ratio / (p * ratio).sum() for p in softmax(weak)]
    return sharpen(aligned, temperature)


def turn(image: ArrayLike, turns: int) -> Array:
    """A quarter turn counter-clockwise, some times: the right column becomes the top row."""
    turned = np.asarray(image, dtype=np.float64)
    for _ in range(turns):
        size = turned.shape[-1]
        turned = np.stack([turned[..., :, size - 1 - row] for row in range(size)], axis=-2)
    return turned


def regmixmatch(
    weak: ArrayLike,
    strong: ArrayLike,
    mixed: ArrayLike,
    labels: ArrayLike,
    shares: ArrayLike,
    policy: float,
    threshold: float,
    by_batch: bool = False,
) -> dict[str, float]:
    """The terms of the public code of arXiv 2412.10741, all in logits but labels of partners."""
    p, q = softmax(weak), softmax(mixed)
    best, confidence = p.argmax(axis=1), p.max(axis=1)
    count, classes = p.shape
    own = one_hot(best, classes)
    clean = cross_entropy(own, strong)
    unsure = [i for i in range(count) if confidence[i] < threshold]
    terms = {"pseudo_label": 0.0, "mixed": 0.0, "unsure": 0.0}
    given = zip(np.asarray(labels), np.asarray(shares), strict=True)
    for i, (label, share) in enumerate(given):
        if confidence[i] >= policy:
            terms["pseudo_label"] += clean[i] / count
        target = share * (p[i] if i in unsure else own[i]) + (1 - share) * label
        if i in unsure:
            power = np.mean(confidence[unsure] ** 3) if by_batch else confidence[i] ** 3
            distance = sum((target[c] - q[i, c]) ** 2 for c in range(classes)) / classes
            terms["unsure"] += power * distance / len(unsure)
        else:
            terms["mixed"] += -sum(target[c] * np.log(q[i, c]) for c in range(classes)) / count
    return terms
