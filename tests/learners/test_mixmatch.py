"""MixMatch's mixing is requests: guessed labels, one shuffle and one draw, then the classifier.

Berthelot et al., "MixMatch", 2019, arXiv 1905.02249, algorithm 1, on two loaders of N rows each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sesemi_like.learners import Learner, LossTerm
from sesemi_like.models.heads.loss.base import Fields, Forward, LossHead, LossOutputs, Step
from sesemi_like.models.networks import Networks

CLASSES, ALPHA, TEMPERATURE = 3, 0.75, 0.5
VIEWS = ("unlabeled.weak", "unlabeled.weak_2")


class MixMatch(LossHead):
    def forwards(self, fields: Fields) -> dict[str, Forward]:
        guesses = tuple(Forward(view, grad=False, norm="batch") for view in VIEWS)
        guess = Forward((guesses,), "self.sharpen", grad=False)
        images = Forward(("labeled.image", *VIEWS), "self.stack", grad=False)
        labels = Forward(("labeled.target", guess), "self.label", grad=False)
        mixed = Forward((images, labels), "self.mix", grad=False)
        parts = ("labeled", "first", "second")
        inputs = [Forward(mixed, f"self.{part}", grad=False) for part in parts]
        logits = [Forward(x, norm="update" if i == 0 else "batch") for i, x in enumerate(inputs)]
        return {"mixed": mixed, **dict(zip(parts, logits, strict=True))}

    def sharpen(self, guesses: tuple[Tensor, ...]) -> Tensor:
        mean = torch.stack([logits.softmax(dim=1) for logits in guesses]).mean(dim=0)
        sharp: Tensor = mean ** (1 / TEMPERATURE)
        return sharp / sharp.sum(dim=1, keepdim=True)

    def stack(self, *images: Tensor) -> Tensor:
        return torch.cat(images)

    def label(self, target: Tensor, guess: Tensor) -> Tensor:
        return torch.cat([F.one_hot(target, CLASSES).to(guess), guess, guess])

    def mix(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        gammas = torch._standard_gamma(torch.full((2, len(images)), ALPHA), generator=generator)
        share = (gammas[0] / gammas.sum(dim=0)).to(images)
        share = torch.maximum(share, 1 - share)[:, None]
        others = torch.randperm(len(images), generator=generator)
        return {
            "x": share * images + (1 - share) * images[others],
            "y": share * labels + (1 - share) * labels[others],
            "others": others,
        }

    def labeled(self, mixed: Mapping[str, Tensor]) -> Tensor:
        return mixed["x"].chunk(3)[0]

    def first(self, mixed: Mapping[str, Tensor]) -> Tensor:
        return mixed["x"].chunk(3)[1]

    def second(self, mixed: Mapping[str, Tensor]) -> Tensor:
        return mixed["x"].chunk(3)[2]

    def forward(self, outputs: Mapping[str, Any], step: Step) -> LossOutputs:
        labels, *guesses = outputs["mixed"]["y"].chunk(3)
        supervised = F.cross_entropy(outputs["labeled"], labels, reduction="none")
        predicted = torch.cat([outputs["first"], outputs["second"]]).softmax(dim=1)
        distance = (predicted - torch.cat(guesses)).square().mean(dim=1)
        return LossOutputs({"supervised": supervised, "guessed": distance})


class Mixing(Learner):
    def build_networks(self) -> Networks:
        torch.manual_seed(0)
        layers = (nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, CLASSES))
        return Networks({"classifier": nn.Sequential(*layers)}).double()

    def build_terms(self) -> dict[str, LossTerm]:
        return {"mixmatch": LossTerm(MixMatch())}
