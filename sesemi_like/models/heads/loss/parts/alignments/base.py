"""The contract of an alignment: which classes a teacher should predict how often.

Shapes: N unlabeled rows, C classes.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from ..base import Part, checked_answer
from ..prediction import Prediction
from ..settings import of_kind


class Alignment(Part):
    """Changes the teacher's logits before they are judged and become targets."""

    def forward(self, prediction: Prediction) -> Tensor:
        """Aligns a batch; reads the state alone, :meth:`update` moves it before.

        Dividing probabilities by what is predicted on average and multiplying them by what should
        be is adding the logarithm of that ratio to the logits: ``softmax(z + log r)`` is
        ``p r / sum(p r)``.

        Args:
            prediction: The batch, unaligned.

        Returns:
            Aligned logits (N, C).
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how it aligns")

    def of_learner(self, logits: Tensor) -> Tensor:
        """The learner's logits (N, C) that the loss compares with targets; unchanged here."""
        return logits


def checked_alignment(alignment: Alignment | None) -> Alignment | None:
    """Returns an alignment, or None for none.

    Raises:
        ValueError: If it is a part of another kind.
    """
    if alignment is None:
        return None
    return of_kind("alignment", alignment, Alignment, "one such as parts.AverageAlignment")


def align(alignment: Alignment | None, prediction: Prediction, *, updates: bool) -> Prediction:
    """Applies an alignment to a batch, after the batch has moved its state.

    Args:
        alignment: The alignment; None leaves predictions as they are.
        prediction: The batch, unaligned.
        updates: Whether the state moves, as in training.

    Raises:
        ValueError: If it answers something else than logits.
    """
    if alignment is None:
        return prediction
    if updates:
        alignment.update(prediction)
    logits = checked_answer(alignment, alignment(prediction), prediction.logits)
    return replace(prediction, alignment=logits)
