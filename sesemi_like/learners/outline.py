"""Outlines: learners without memory for weights, rehearsed, then built for real in a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch import nn

if TYPE_CHECKING:
    from .base import Learner

_WITHOUT_VALUES = ("meta", "unsupported scalartype")
"""What torch says of operations without values, the second of automatic mixed precision."""


@contextmanager
def outlining() -> Iterator[None]:
    """Builds networks on the meta device: shapes and types without values, and no weights read."""
    with torch.device("meta"):
        yield


def is_outline(module: nn.Module) -> bool:
    """Whether a module has parameters without values."""
    return any(parameter.is_meta for parameter in module.parameters())


def needs_values(error: Exception) -> bool:
    """Whether an error says that something cannot be computed without values.

    Args:
        error: What was raised by a computation on the meta device.
    """
    words = str(error).lower()
    is_of_device = any(word in words for word in _WITHOUT_VALUES)
    return isinstance(error, NotImplementedError | RuntimeError) and is_of_device


def build_outlined(learner: Learner, build: Callable[[], Any]) -> None:
    """Builds an outlined learner for real; what its rehearsal found out is kept.

    Args:
        learner: A learner that was built within :func:`outlining`.
        build: Builds its networks and loss heads anew, with the weights that they begin with.
    """
    trained = {name for name, p in learner.named_parameters() if p.requires_grad}
    fields, answers = learner.fields, learner.evaluated.answers
    pl.seed_everything(learner.seed, workers=True, verbose=False)
    build()
    for name, parameter in learner.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name in trained)
    learner.evaluated.answers |= answers
    if fields is not None:
        learner.make_plan(fields)
