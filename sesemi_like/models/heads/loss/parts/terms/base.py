"""The contract of a further term of a pseudo-label head's loss.

Shapes: N unlabeled rows, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ......config.facts import DataFacts
from .....networks import Networks
from ...base import LossValues, Step
from ...requests import Forward
from ..base import Reads
from ..prediction import Prediction, PseudoLabels
from ..settings import of_kind


class Term(nn.Module):
    """Adds a loss to that of the pseudo-labels, reduced as the head is, times a coefficient.

    Args:
        coefficient: Multiplies the reduced term; may be negative.
    """

    def __init__(self, coefficient: float = 1.0) -> None:
        super().__init__()
        self.coefficient = float(coefficient)

    def forwards(self, reads: Reads) -> dict[str, Forward]:
        """Lists what it needs beside the pseudo-labels; called once, before training.

        Args:
            reads: What the head reads, with requests for its views.
        """
        return {}

    def build(self, networks: Networks, facts: DataFacts, reads: Reads) -> None:
        """Creates its own layers and buffers, as :meth:`Part.build` does."""

    def update(self, prediction: Prediction, weights: Tensor) -> None:
        """Moves the state by a batch, before the term is computed; in training alone.

        Args:
            prediction: The batch, aligned.
            weights: How much each row counts (N,), as the policy says.
        """

    def forward(self, labels: PseudoLabels, outputs: Mapping[str, Any]) -> Tensor | LossValues:
        """Computes the term.

        Args:
            labels: The pseudo-labels of the batch.
            outputs: What its own requests answered, by their names.

        Returns:
            One loss per row, or losses with weights and a count of their own; the coefficient is
            this part's.
        """
        raise NotImplementedError(f"{type(self).__name__} has no rule")

    def after_step(self, step: Step) -> None:
        """Follows an optimizer step, see :meth:`LossHead.after_step`."""


def checked_terms(terms: Mapping[str, Term] | None) -> dict[str, Term]:
    """Returns the terms by name; none for None.

    Raises:
        ValueError: If they have no names, or one is a part of another kind.
    """
    given = {} if terms is None else terms
    named = of_kind("terms", given, Mapping, "terms by name")
    expected = "a term such as parts.FairnessTerm"
    return {name: of_kind(f"terms.{name}", term, Term, expected) for name, term in named.items()}
