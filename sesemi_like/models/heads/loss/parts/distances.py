"""Distances between two predictions, one number per row.

Shapes: N rows, C classes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from .....errors import suggest

Distance = Callable[[Tensor, Tensor], Tensor]
"""From logits (N, C) and the logits of the target (N, C) to one distance per row (N,)."""


def softmax_mse(logits: Tensor, target_logits: Tensor) -> Tensor:
    """Squared difference of the probabilities, its mean over the classes.

    Laine & Aila, arXiv 1610.02242, algorithm 1, and Tarvainen & Valpola, arXiv 1703.01780, both
    divide by the number of classes; without it the distance is C times as large.

    Args:
        logits: The prediction (N, C).
        target_logits: What it is compared with (N, C).

    Returns:
        Distances (N,) in [0, 2 / C].
    """
    return (logits.softmax(dim=1) - target_logits.softmax(dim=1)).square().mean(dim=1)


def softmax_kl(logits: Tensor, target_logits: Tensor) -> Tensor:
    """Kullback-Leibler divergence KL(target || prediction) of the probabilities, in nats.

    Args:
        logits: The prediction (N, C).
        target_logits: What it is compared with (N, C).

    Returns:
        Divergences (N,), zero or more.
    """
    log_prediction, log_target = logits.log_softmax(dim=1), target_logits.log_softmax(dim=1)
    return F.kl_div(log_prediction, log_target, reduction="none", log_target=True).sum(dim=1)


def entropy(logits: Tensor) -> Tensor:
    """Entropy of the probabilities, in nats.

    Args:
        logits: The prediction (N, C).

    Returns:
        Entropies (N,) in [0, log C].
    """
    log_probabilities = logits.log_softmax(dim=1)
    return -(log_probabilities.exp() * log_probabilities).sum(dim=1)


DISTANCES: dict[str, Distance] = {"mse": softmax_mse, "kl": softmax_kl}
"""The distances that a config may name."""


def distance_function(distance: str | Distance) -> Distance:
    """Returns the distance of this name, or the given callable itself.

    Raises:
        ValueError: If there is no distance of this name.
    """
    if not isinstance(distance, str):
        return distance
    if distance not in DISTANCES:
        known = suggest(distance, DISTANCES, noun="distances")
        raise ValueError(f"distance: found {distance!r}; {known}")
    return DISTANCES[distance]
