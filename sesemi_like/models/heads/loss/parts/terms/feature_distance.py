"""A term that keeps the features of two views apart.

Shapes: N unlabeled rows, D features, maps of H x W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ......config.facts import DataFacts
from .....networks import Networks, in_float32
from ...base import LossValues
from ...requests import Forward
from ..base import Reads
from ..prediction import PseudoLabels
from .base import Term


class FeatureDistanceTerm(Term):
    """Pushes the features of the two views of a row apart, while their classes agree.

    The feature distance of CRMatch (Fan et al., "Revisiting consistency regularization for
    semi-supervised learning", 2021, arXiv 2112.05825). With g a linear layer of its own from the
    last feature map, before it is pooled, to D numbers, for each row that counts::

        loss = max(0, cos(g(map of the learner's view), g(map of the teacher's view)))

    so that features may tell how strongly a view was changed. Where the backbone has no maps, such
    as a transformer, g reads its features.

    Args:
        coefficient: Multiplies the reduced term.
        grid: Maps of another height or width are averaged to this one, at least 1; WRN-28-2 has
            maps of 8 x 8 for images of 32 x 32.
        teacher_grad: Whether gradients flow through the teacher's view as well, as in semilearn
            and unlike everywhere else in the head.

    Raises:
        ValueError: If the grid is below 1.
    """

    def __init__(self, coefficient: float = 1.0, grid: int = 8, teacher_grad: bool = True) -> None:
        super().__init__(coefficient)
        if grid < 1:
            raise ValueError(f"grid: found {grid}; needs a number of pixels, 1 or more")
        self.grid = grid
        self.teacher_grad = teacher_grad

    def build(self, networks: Networks, facts: DataFacts, reads: Reads) -> None:
        """Creates the layer g, and has both networks answer maps."""
        size = networks.feature_size(reads.network)
        names = dict.fromkeys((reads.network, reads.teacher_network))
        self.reads_maps = all([_answers_maps(networks, name) for name in names])
        pixels = self.grid**2 if self.reads_maps else 1
        self.layer = nn.Linear(size * pixels, size)

    def forwards(self, reads: Reads) -> dict[str, Forward]:
        """Asks for both views, of the rows that count."""
        teacher = replace(reads.teacher, grad=self.teacher_grad)
        return {"teacher": teacher, "learner": reads.kept(reads.learner)}

    def forward(self, labels: PseudoLabels, outputs: Mapping[str, Any]) -> LossValues:
        """How alike the views of each row (N,) are, in [0, 1]."""
        first, second = (self._projected(outputs[name]) for name in ("learner", "teacher"))
        return LossValues(F.cosine_similarity(first, second).clamp(min=0), labels.weights)

    def _projected(self, answer: Mapping[str, Tensor]) -> Tensor:
        features = answer["features"]
        if self.reads_maps:
            features = F.adaptive_avg_pool2d(answer["map"], self.grid).flatten(start_dim=1)
        return in_float32(self.layer, features)


def _answers_maps(networks: Networks, name: str) -> bool:
    network = networks.module(name)
    network = getattr(network, "module", network)  # of an EMA teacher the average
    answer_maps = getattr(network, "answer_maps", None)
    return answer_maps is not None and bool(answer_maps())
