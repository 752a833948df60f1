"""Labeled logits drawn between those of their batch alone and those of all rows of a step.

Shapes: N rows, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ..requests import Forward

INTERPOLATE = "interpolate_logits"
"""The function of a learner that :func:`interpolated` goes through."""


def interpolate_logits(
    joint: Mapping[str, Tensor], alone: Mapping[str, Tensor], generator: torch.Generator
) -> dict[str, Tensor]:
    """Draws each logit from between two.

    Berthelot et al., "AdaMatch", 2022, arXiv 2106.04732, section 3.2.1: with the logits z' of the
    labeled rows alone, z'' of the same rows among all of the step, and U uniform in [0, 1)::

        z = z'' + U (z' - z'')      elementwise

    Args:
        joint: What the network answered for them among all rows, with `logits` (N, C).
        alone: What it answered for them alone.
        generator: Draws U, on the CPU.

    Returns:
        ``{"logits": (N, C)}``; gradients flow into both.
    """
    of_all, own = joint["logits"], alone["logits"]
    share = torch.rand(of_all.shape, generator=generator).to(of_all.device, of_all.dtype)
    return {"logits": of_all + share * (own - of_all)}


def interpolated(request: Forward) -> Forward:
    """The request for interpolated logits of the rows that another request sends through a network.

    Whoever asks gets the same draws. BatchNorm's running statistics follow the rows among all
    alone, as in the public code.

    Args:
        request: The forward among all rows of a step, if `model.forward` is ``together``.
    """
    # Gradients are left to the outermost request: those within are then the same for all who ask.
    joint = replace(request, grad=True)
    return Forward((joint, replace(joint, norm="batch")), INTERPOLATE, grad=request.grad)
