"""The running alignment against its equations in NumPy, over several steps."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from parts_playing import CLASSES, align, batches, build
from references import alignments as reference
from references.losses import softmax

from sesemi_like.config.facts import DataFacts
from sesemi_like.errors import ConfigError
from sesemi_like.models.heads.loss.parts import AverageAlignment, Prediction

ROWS = (6, 1, 9, 0, 4)
UNIFORM = [1 / CLASSES] * CLASSES


def labeled_rows(batch: Prediction) -> torch.Tensor:
    assert batch.labelled is not None and batch.target is not None
    return batch.labelled[batch.target >= 0]


@pytest.mark.parametrize("initial", ["batch", "uniform"])
@pytest.mark.parametrize("target", ["uniform", "labelled", "counts", [1.0, 2.0, 1.0, 4.0]])
def test_it_is_the_ratio_of_averages(target: Any, initial: Any) -> None:
    alignment = build(AverageAlignment(target, momentum=0.7, initial=initial))
    made = batches(*ROWS, labelled=[5, 1, 0, 2, 7])
    unlabeled = [softmax(b.logits).reshape(-1, CLASSES) for b in made]
    labeled = [softmax(labeled_rows(b)).reshape(-1, CLASSES) for b in made]
    found = reference.running_averages(unlabeled, 0.7, None if initial == "batch" else UNIFORM)
    wanted = np.array([[0.125, 0.25, 0.125, 0.5]] * len(made))
    if target == "uniform":
        wanted = np.array([UNIFORM] * len(made))
    elif target == "counts":
        wanted = np.array([[0.5, 0.25, 0.125, 0.125]] * len(made))
    elif target == "labelled":
        wanted = reference.running_averages(labeled, 0.7, UNIFORM)
    for number, batch in enumerate(made):
        expected = reference.aligned(unlabeled[number], wanted[number], found[number])
        got = align(alignment, batch).softmax(dim=1)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


def test_labels_of_none_of_the_rows_leave_the_average() -> None:
    alignment = build(AverageAlignment("labelled"))
    (batch,) = batches(3, labelled=[2])
    batch = replace(batch, target=torch.tensor([-1, -1]))
    align(alignment, batch)
    assert alignment.target().tolist() == UNIFORM


def test_before_any_batch_uniform_changes_nothing() -> None:
    alignment = build(AverageAlignment())
    (batch,) = batches(3)
    torch.testing.assert_close(alignment(batch), batch.logits)


def test_it_reads_labeled_rows_only_where_they_are_its_target() -> None:
    assert AverageAlignment().needs == AverageAlignment("counts").needs == ()
    assert AverageAlignment("labelled").needs == ("labelled", "target")


def test_classes_without_labels_are_counted_as_none() -> None:
    facts = DataFacts(class_counts={"supervised": [3, 1]})
    assert build(AverageAlignment("counts"), facts).target().tolist() == [0.75, 0.25, 0, 0]


def test_its_state_round_trips() -> None:
    first, second = (build(AverageAlignment("labelled")) for _ in range(2))
    made = batches(*ROWS)
    for batch in made[:3]:
        align(first, batch)
    second.load_state_dict(first.state_dict())
    for batch in made[3:]:
        assert torch.equal(align(first, batch), align(second, batch))


def test_wrong_settings_are_named() -> None:
    with pytest.raises(
        ValueError, match="target: found 'even'; it may be: counts, labelled, uniform"
    ):
        AverageAlignment("even")
    with pytest.raises(ValueError, match=r"target: found \[1, -1\]"):
        AverageAlignment([1, -1])
    with pytest.raises(ValueError, match="target: found 2 numbers for 4 classes"):
        build(AverageAlignment([1, 1]))
    with pytest.raises(ValueError, match="momentum: found 1"):
        AverageAlignment(momentum=1)
    with pytest.raises(ValueError, match="initial: found 'zeros'"):
        AverageAlignment(initial="zeros")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="number of its labels"):
        build(AverageAlignment("counts"), DataFacts())
