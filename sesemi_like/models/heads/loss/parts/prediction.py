"""What a teacher predicts for a batch, and the pseudo-labels that parts make of it.

Shapes: N unlabeled rows, M labeled rows, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

NEEDS: tuple[str, ...] = ("index", "uniform", "labelled", "target")
"""What else of a batch a part may name in its `needs`, see :class:`Prediction`."""


@dataclass(frozen=True)
class Prediction:
    """What is predicted for the unlabeled rows of a step, without gradients.

    Attributes:
        logits: What the teacher answered (N, C).
        alignment: The logits after an alignment (N, C); None is `logits` themselves.
        index: The rows' positions in the data set (N,), int64; None if no part needs them.
        uniform: A draw from [0, 1) for each row (N,); None if no part needs them.
        labelled: The logits of the labeled rows (M, C); None if no part needs them.
        target: The classes of the labeled rows (M,), int64, -1 for none; None if no part needs
            them.
    """

    logits: Tensor
    alignment: Tensor | None = None
    index: Tensor | None = None
    uniform: Tensor | None = None
    labelled: Tensor | None = None
    target: Tensor | None = None

    @property
    def aligned(self) -> Tensor:
        """The logits that are judged (N, C): those after the alignment, if there is one."""
        return self.logits if self.alignment is None else self.alignment

    @cached_property
    def probabilities(self) -> Tensor:
        """The softmax of :attr:`aligned` (N, C)."""
        return self.aligned.softmax(dim=1)

    @cached_property
    def confidence(self) -> Tensor:
        """The largest probability of each row (N,)."""
        return self.probabilities.amax(dim=1)

    @cached_property
    def classes(self) -> Tensor:
        """The most likely class of each row (N,), int64."""
        return self.aligned.argmax(dim=1)


@dataclass(frozen=True)
class PseudoLabels:
    """What a pseudo-label head has made of a prediction, for its further terms.

    Attributes:
        logits: What the teacher answered (N, C).
        aligned: The logits after the alignment (N, C).
        targets: What the learner should predict (N, C), distributions.
        weights: How much each row counts (N,), zero or more.
        learner: The learner's logits (N, C), with gradients; of rows of weight zero they may be
            zeros, because such rows need not be run.
        judge: From further logits (K, C) of the teacher, such as those of labeled rows, to their
            targets (K, C) and weights (K,); changes no state.
        compare: From further logits (K, C) of the learner and targets (K, C) to the head's loss of
            each row (K,).
    """

    logits: Tensor
    aligned: Tensor
    targets: Tensor
    weights: Tensor
    learner: Tensor
    judge: Callable[[Tensor], tuple[Tensor, Tensor]]
    compare: Callable[[Tensor, Tensor], Tensor]
