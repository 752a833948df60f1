"""FlexMatch's curriculum: a class that few predictions are sure of needs less confidence.

Shapes: N unlabeled rows, C classes, U rows of a table by `index`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor

from ......config.facts import DataFacts
from ......distributed import gather_rows
from ......errors import suggest
from .....networks import Networks
from ..base import Reads
from ..metrics import class_thresholds
from ..prediction import Prediction
from .base import Policy

MAPPINGS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "convex": lambda learned: learned / (2 - learned),
    "linear": lambda learned: learned,
    "concave": lambda learned: learned.log1p() / math.log(2),
}
"""From how well classes are learned (C,) in [0, 1] to the share of the threshold, by name."""


class CurriculumPolicy(Policy):
    """Needs less confidence for a class that is learned less well than the best one.

    Zhang et al., "FlexMatch: boosting semi-supervised learning with curriculum pseudo labeling",
    2021, arXiv 2110.08263, algorithm 1. A table holds for each unlabeled row the class that was
    last predicted for it with a confidence of at least `threshold`, at first -1. With s_c rows of
    class c in it, n_-1 rows without, p a prediction and y = argmax p::

        b_c    = s_c / max(max_k s_k, n_-1)      equation 11; without `warm_up` s_c / max_k s_k
        weight = 1 if p_y >= M(b_y) threshold else 0

    with M(b) = b / (2 - b), which is convex. A batch is weighed first; then the table follows it,
    and what it makes of b holds from the next batch on. At first b is 0 and every row counts.

    Args:
        threshold: The confidence needed of the class that is learned best, and for the table; in
            [0, 1].
        mapping: M: ``convex``, the paper's, ``linear``, b, or ``concave``, log(1 + b) / log 2.
        warm_up: Whether rows that no prediction was sure of yet lower the thresholds.

    Attributes:
        label: The table (U,), int32, in [-1, C).
        learned: b (C,), float32, in [0, 1].

    Raises:
        ValueError: If the threshold is outside [0, 1], or there is no such mapping.
    """

    needs = ("index",)
    label: Tensor
    learned: Tensor

    def __init__(
        self, threshold: float = 0.95, mapping: str = "convex", warm_up: bool = True
    ) -> None:
        super().__init__()
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold: found {threshold}; needs a confidence in [0, 1]")
        if mapping not in MAPPINGS:
            known = suggest(mapping, MAPPINGS, noun="mappings")
            raise ValueError(f"mapping: found {mapping!r}; {known}")
        self.threshold = threshold
        self.mapping = MAPPINGS[mapping]
        self.warm_up = warm_up

    def build(self, networks: Networks, facts: DataFacts, reads: Reads) -> None:
        """Creates the table.

        Raises:
            ConfigError: If the unlabeled rows are a stream of unknown length.
        """
        size = facts.num_indices(reads.input_data)
        # A selection of rows has larger indices than rows; those it leaves out are not waited for.
        self.num_rows = facts.rows.get(f"train.{reads.input_data}") or size
        self.register_buffer("label", torch.full((size,), -1, dtype=torch.int32))
        self.register_buffer("learned", torch.zeros(networks.num_classes(reads.network)))

    def forward(self, prediction: Prediction) -> Tensor:
        """Weighs every row (N,) by what the batches before have made of the table."""
        is_sure = prediction.confidence >= self._thresholds()[prediction.classes]
        return is_sure.to(prediction.logits.dtype)

    def follow(self, prediction: Prediction, weights: Tensor) -> None:
        """Writes the classes that are predicted surely into the table, and counts them."""
        is_sure = prediction.confidence >= self.threshold
        label = prediction.classes.where(is_sure, -1)
        rows = torch.stack([cast(Tensor, prediction.index), label], dim=1)
        index, label = gather_rows(rows).unbind(dim=1)
        if len(index):
            self._write(index, label)
            self._count()

    def _write(self, index: Tensor, label: Tensor) -> None:
        """Writes labels that are not -1; of rows with one index the last one counts."""
        size = len(self.label)
        # Selecting rows would have a GPU wait for their number: others go into a place of no row.
        place = index.where(label >= 0, size)
        position = torch.arange(len(index), device=index.device)
        last = position.new_full((size + 1,), -1).scatter_reduce(0, place, position, "amax")[:size]
        self.label.copy_(torch.where(last < 0, self.label, label[last]))

    def _count(self) -> None:
        place = self.label.long() + 1
        counts = place.new_zeros(len(self.learned) + 1).scatter_add(
            0, place, torch.ones_like(place)
        )
        of_class = counts[1:]
        most = of_class.max()
        if self.warm_up:
            most = most.maximum(self.num_rows - of_class.sum())
        self.learned.copy_(of_class / most.clamp_min(1))

    def _thresholds(self) -> Tensor:
        return self.threshold * self.mapping(self.learned)

    def metrics(self) -> dict[str, Tensor]:
        """Those of :func:`~..metrics.class_thresholds`, and the share of rows `ever_sure`."""
        ever_sure = (self.label >= 0).sum() / self.num_rows
        return {**class_thresholds(self._thresholds()), "ever_sure": ever_sure}
