"""The entropy of what is learned against NumPy: of all rows, of those kept, and of the others."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from parts_playing import Answers
from references import losses as reference
from torch import Tensor

from sesemi_like.config.facts import DataFacts
from sesemi_like.learners.reductions import reduce_terms
from sesemi_like.models.heads.loss import PseudoLabelLossHead
from sesemi_like.models.heads.loss.parts import DebiasedLogits, EntropyTerm
from sesemi_like.models.networks import Networks

WEAK = torch.tensor([[5.0, 0, 0, 0], [0.2, 0, 0, 0], [0, 4.0, 0, 0]])
STRONG = torch.tensor([[1.0, 0, 0, 2], [0.5, 0, 1, 0], [0, 0, 1.0, 0]])


def outputs(play: Callable[..., Any], rows: Any, strong: Tensor, weak: Tensor = WEAK) -> Any:
    head = PseudoLabelLossHead(policy=0.9, terms={"entropy": EntropyTerm(0.5, rows)})
    head.build(Networks({"classifier": Answers()}), DataFacts())
    given = {("unlabeled.weak", "classifier"): weak, ("unlabeled.strong", "classifier"): strong}
    return play(head, given)


@pytest.mark.parametrize(
    ("rows", "counted"), [("all", [1, 1, 1]), ("kept", [1, 0, 1]), ("left_out", [0, 1, 0])]
)
def test_it_is_the_entropy_of_its_rows(play: Any, rows: str, counted: list[float]) -> None:
    strong = STRONG.clone().requires_grad_()
    found = outputs(play, rows, strong)
    assert found.losses["entropy"].coefficient == 0.5
    expected = float(np.dot(counted, reference.entropy(STRONG))) / 3
    entropy = reduce_terms(found, "mean").terms["entropy"]
    assert entropy.item() == pytest.approx(expected, rel=1e-5)
    entropy.backward()
    assert [bool(row.any()) for row in strong.grad] == [bool(c) for c in counted]


@pytest.mark.parametrize("rows", ["all", "kept", "left_out"])
def test_no_rows_are_a_zero_in_the_graph(play: Any, rows: str) -> None:
    strong = torch.zeros(0, 4, requires_grad=True)
    entropy = reduce_terms(outputs(play, rows, strong, WEAK[:0]), "mean").terms["entropy"]
    entropy.backward()
    assert entropy.item() == 0


def test_other_rows_are_refused() -> None:
    with pytest.raises(ValueError, match=r"rows: found 'left'; .*left_out"):
        EntropyTerm(rows="left")


def test_it_is_of_what_is_predicted_whatever_bias_the_learner_is_given(play: Any) -> None:
    found = {}
    for rows in ("all", "kept"):
        head = PseudoLabelLossHead(
            alignment=DebiasedLogits(tau=1.0, momentum=0.0),
            policy=0.0,
            terms={"entropy": EntropyTerm(rows=rows)},
        )
        head.build(Networks({"classifier": Answers()}), DataFacts())
        given = {("unlabeled.weak", "classifier"): WEAK, ("unlabeled.strong", "classifier"): STRONG}
        found[rows] = play(head, given).losses["entropy"].losses
    np.testing.assert_allclose(found["kept"], reference.entropy(STRONG), rtol=1e-5)
    np.testing.assert_allclose(found["all"], found["kept"], rtol=1e-6)
