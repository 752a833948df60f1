"""A small classifier with BatchNorm in NumPy, and gradients by central differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

Array = NDArray[np.float64]
Parameters = dict[str, Array]
"""By the names of :class:`TinyNetwork`."""


class TinyNetwork(nn.Module):
    """Linear, BatchNorm, tanh, linear: answers rows of 4 numbers as a classifier of 3 classes."""

    out_features, num_classes = 6, 3

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.norm = nn.Linear(4, 6), nn.BatchNorm1d(6)
        self.outer = nn.Linear(6, 3)
        self.double()

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        features = torch.tanh(self.norm(self.inner(rows.flatten(1))))
        return {"features": features, "logits": self.outer(features)}


def parameters_of(module: nn.Module) -> Parameters:
    """Copies the parameters of a module."""
    return {name: p.detach().numpy().copy() for name, p in module.named_parameters()}


def features(parameters: Parameters, rows: ArrayLike) -> Array:
    """What the layers before the last answer for rows (N, 4) that are normalized by themselves."""
    hidden = np.asarray(rows) @ parameters["inner.weight"].T + parameters["inner.bias"]
    centered = hidden - hidden.mean(axis=0)
    normalized = centered / np.sqrt((centered**2).mean(axis=0) + 1e-5)
    return np.asarray(np.tanh(normalized * parameters["norm.weight"] + parameters["norm.bias"]))


def predict(parameters: Parameters, rows: ArrayLike) -> Array:
    """The logits (N, 3) of rows (N, 4) that are normalized by themselves."""
    inner = features(parameters, rows)
    return np.asarray(inner @ parameters["outer.weight"].T + parameters["outer.bias"])


def gradient(loss: Callable[[Parameters], float], at: Parameters, by: float = 1e-6) -> Parameters:
    """The gradient of a loss by central differences, number by number."""
    found = {name: np.zeros_like(value) for name, value in at.items()}
    for name, value in at.items():
        for place in np.ndindex(value.shape):
            sides = []
            for sign in (1, -1):
                moved = {**at, name: value.copy()}
                moved[name][place] += sign * by
                sides.append(loss(moved))
            found[name][place] = (sides[0] - sides[1]) / (2 * by)
    return found
