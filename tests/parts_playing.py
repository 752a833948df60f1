"""Builds parts, and plays them batches as a pseudo-label head does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from sesemi_like.config.facts import DataFacts
from sesemi_like.models.heads.loss.parts import Alignment, Part, Policy, Prediction, Reads
from sesemi_like.models.networks import Networks

CLASSES = 4
FACTS = DataFacts(largest_index={"train.unlabeled": 19}, class_counts={"supervised": [8, 4, 2, 2]})

Built = TypeVar("Built", bound=Part)


class Answers(nn.Module):
    """Knows how many classes it has."""

    num_classes, out_features = CLASSES, 3


def build(part: Built, facts: DataFacts = FACTS) -> Built:
    """Builds a part for a classifier of four classes."""
    part.build(Networks({"classifier": Answers()}), facts, Reads())
    return part


def batches(
    *rows: int, labelled: Sequence[int] | None = None, seed: int = 0, scale: float = 2.0
) -> list[Prediction]:
    """One batch of each number of unlabeled rows, with everything that a part may need.

    Args:
        *rows: Unlabeled rows of each batch.
        labelled: Labeled rows of each; None has five in each. Every third has no label.
        seed: Seeds the numbers.
        scale: How far logits are apart.
    """
    generator = torch.Generator().manual_seed(seed)
    made = []
    for n, m in zip(rows, labelled or [5] * len(rows), strict=True):
        target = torch.randint(CLASSES, (m,), generator=generator)
        target[torch.arange(m) % 3 == 2] = -1
        made.append(
            Prediction(
                scale * torch.randn(n, CLASSES, generator=generator),
                index=torch.randperm(20, generator=generator)[:n],
                uniform=torch.rand(n, generator=generator),
                labelled=scale * torch.randn(m, CLASSES, generator=generator),
                target=target,
            )
        )
    return made


def cut(prediction: Prediction, rank: int) -> Prediction:
    """The rows of one of two processes: the first has a third of them, the second the others."""

    def part_of(rows: Tensor | None) -> Tensor | None:
        if rows is None:
            return None
        first = len(rows) // 3
        return rows[first:] if rank else rows[:first]

    logits = part_of(prediction.logits)
    assert logits is not None
    return Prediction(
        logits,
        index=part_of(prediction.index),
        uniform=part_of(prediction.uniform),
        labelled=part_of(prediction.labelled),
        target=part_of(prediction.target),
    )


def align(alignment: Alignment, prediction: Prediction) -> Tensor:
    """Moves an alignment by a batch and aligns it: logits (N, C)."""
    alignment.update(prediction)
    aligned: Tensor = alignment(prediction)
    return aligned


def weigh(policy: Policy, prediction: Prediction, aligned: Tensor | None = None) -> Tensor:
    """Moves a policy by a batch and weighs it (N,)."""
    prediction = replace(prediction, alignment=aligned)
    policy.update(prediction)
    weights: Tensor = policy(prediction)
    policy.follow(prediction, weights)
    return weights
