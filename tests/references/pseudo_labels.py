"""Methods of pseudo-labels in NumPy, row by row, as their papers write them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from references.losses import cross_entropy, fixmatch, one_hot, softmax


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


def divergence(source: ArrayLike, target: ArrayLike, temperature: float = 1.0) -> list[float]:
    """KL(softmax(z / T) || p) of each row, z the source's logits and p the target's softmax."""
    pairs = zip(softmax(np.asarray(source) / temperature), softmax(target), strict=True)
    return [sum(q[c] * (np.log(q[c]) - np.log(p[c])) for c in range(len(q))) for q, p in pairs]


def defixmatch(
    views: tuple[ArrayLike, ArrayLike], labelled: tuple[ArrayLike, ArrayLike], threshold: float
) -> float:
    """Equation 5 of arXiv 2203.07512 with FixMatch's loss, its unlabeled part alone.

    Args:
        views: Logits of the weak and the strong view of the unlabeled rows.
        labelled: The same of the labeled rows.
        threshold: FixMatch's.
    """
    return fixmatch(*views, threshold) - fixmatch(*labelled, threshold)


def refixmatch(
    weak: ArrayLike, strong: ArrayLike, threshold: float, temperature: float
) -> tuple[float, float]:
    """FixMatch's loss, and the mean over all rows of the divergence of those that it leaves out."""
    confidences = softmax(weak).max(axis=1)
    divergences = divergence(weak, strong, temperature)
    rows = zip(divergences, confidences, strict=True)
    left_out = [value for value, confidence in rows if confidence < threshold]
    return fixmatch(weak, strong, threshold), sum(left_out) / len(confidences)


def sequencematch(
    views: tuple[ArrayLike, ArrayLike, ArrayLike],
    mask: list[float],
    threshold: float,
    temperature: float,
) -> dict[str, float]:
    """The terms of SequenceMatch's code, each a mean over all rows.

    Args:
        views: Logits of the weak, the medium and the strong view (N, C).
        mask: Which rows FlexMatch keeps (N,).
        threshold: The confidence that a view needs to be a source.
        temperature: What sharpens a source.
    """
    weak, medium, strong = views
    labels = one_hot(softmax(weak).argmax(axis=1), np.asarray(weak).shape[1])
    terms = {"pseudo_label": list(cross_entropy(labels, strong) * np.asarray(mask))}
    links = {
        "weak_to_medium": (weak, medium),
        "medium_to_strong": (medium, strong),
        "weak_to_strong": (weak, strong),
    }
    for name, (source, target) in links.items():
        sure = softmax(source).max(axis=1) >= threshold
        terms[name] = list(np.array(divergence(source, target, temperature)) * sure)
    return {name: sum(rows) / len(rows) for name, rows in terms.items()}


def alikeness(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """max(0, cos(a, b)) of each pair of rows: the feature distance of arXiv 2112.05825."""
    pairs = zip(np.asarray(first), np.asarray(second), strict=True)
    cosines = [a @ b / np.sqrt((a @ a) * (b @ b)) for a, b in pairs]
    return np.array([max(0.0, cosine) for cosine in cosines])
