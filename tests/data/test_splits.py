"""The choice of labels: counts by hand, nesting, determinism, and budgets that are impossible."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from readers import indexed

from sesemi_like.data.samples import Samples
from sesemi_like.data.splits import choose_labels, choose_part, divide_evenly
from sesemi_like.errors import ConfigError

TARGETS = np.array([0] * 10 + [1] * 5 + [-1] * 4 + [2] * 20)


def samples(targets: Any = TARGETS, classes: Any = ("a", "b", "c")) -> Samples:
    return Samples(lambda i: {"image": i}, [f"s{i}" for i in range(len(targets))], targets,
                   list(classes))  # fmt: skip


@pytest.mark.parametrize(
    ("budget", "counts"),
    [
        ({"labels_per_class": 3}, [3, 3, 3]),
        ({"num_labels": 9}, [3, 3, 3]),
        ({"num_labels": 8}, [3, 3, 2]),
        ({"num_labels": 2}, [1, 1, 0]),
        ({"num_labels": 17}, [6, 5, 6]),
        ({"num_labels": 18}, [7, 5, 6]),
        ({"num_labels": 34}, [10, 5, 19]),
        ({"num_labels": 35}, [10, 5, 20]),
        ({"label_fraction": 0.2}, [2, 1, 4]),
        ({"label_fraction": 0.01}, [1, 1, 1]),
        ({"label_fraction": 1.0}, [10, 5, 20]),
    ],
)
def test_counts_by_class(budget: dict[str, Any], counts: list[int]) -> None:
    rows = choose_labels(TARGETS, **budget)
    assert (np.diff(rows) > 0).all()
    assert [int((TARGETS[rows] == label).sum()) for label in range(3)] == counts


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 5))
def test_a_larger_budget_keeps_what_a_smaller_one_kept(seed: Any, first: Any, second: Any) -> None:
    small, large = sorted([first, second])
    kept = [set(choose_labels(TARGETS, labels_per_class=n, seed=seed)) for n in (small, large)]
    assert kept[0] <= kept[1]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data())
def test_labels_are_dealt_in_turn_until_a_class_is_used_up(sizes: Any, data: Any) -> None:
    count = data.draw(st.integers(0, sum(sizes)))
    dealt, turn = [0] * len(sizes), 0
    while sum(dealt) < count:
        dealt[turn % len(sizes)] += dealt[turn % len(sizes)] < sizes[turn % len(sizes)]
        turn += 1
    assert divide_evenly(count, np.array(sizes)).tolist() == dealt


def test_the_choice_is_the_same_everywhere_and_differs_by_seed() -> None:
    # Drawn once; a change of these rows would change every published split.
    assert choose_labels(TARGETS, labels_per_class=2, seed=0).tolist() == [4, 6, 11, 14, 27, 34]
    choices = {tuple(choose_labels(TARGETS, labels_per_class=2, seed=s)) for s in range(20)}
    assert len(choices) > 15


def test_a_classes_choice_does_not_depend_on_the_other_classes() -> None:
    alone = np.where(TARGETS == 2, 2, -1)
    both = choose_labels(TARGETS, labels_per_class=4, seed=3)
    assert choose_labels(alone, labels_per_class=4, seed=3).tolist() == [r for r in both if r >= 19]


def test_parts_split_the_data_and_hide_what_was_not_chosen() -> None:
    parts = {p: choose_part(samples(), part=p, labels_per_class=2) for p in
             ("labelled", "unlabelled", "all")}  # fmt: skip
    labeled, rest, everything = parts["labelled"], parts["unlabelled"], parts["all"]
    assert np.bincount(labeled.targets).tolist() == [2, 2, 2]
    assert (rest.targets == -1).all()
    assert sorted([*labeled.positions, *rest.positions]) == list(range(39))
    assert (everything.targets >= 0).sum() == 6
    assert everything.targets[labeled.positions].tolist() == labeled.targets.tolist()
    assert labeled[0]["index"] == labeled.positions[0]
    assert labeled.row_ids()[0] == f"s{labeled.positions[0]}"


def test_labels_that_are_not_hidden_are_the_true_ones() -> None:
    shown = choose_part(samples(), part="unlabelled", labels_per_class=2, hide_labels=False)
    assert shown.targets.tolist() == TARGETS[shown.positions].tolist()


def test_without_a_budget_every_given_label_is_kept() -> None:
    assert len(choose_part(samples(), part="labelled")) == 35
    assert choose_part(samples(), part="unlabelled").positions.tolist() == [15, 16, 17, 18]


@pytest.mark.parametrize(
    ("settings", "key", "message"),
    [
        ({"labels_per_class": 6}, "labels_per_class", "class 'b' has only 5 samples, fewer than 6"),
        ({"num_labels": 36}, "num_labels", "only 35 samples with a label"),
        ({"labels_per_class": 0}, "labels_per_class", "at least 1"),
        ({"label_fraction": 1.5}, "label_fraction", r"\(0, 1\]"),
        ({"num_labels": 3, "labels_per_class": 1}, "labels_per_class", "one of"),
        ({"part": "labeled"}, "part", "did you mean 'labelled'"),
    ],
)
def test_impossible_budgets_are_reported(settings: dict[str, Any], key: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        choose_part(samples(), **settings)
    assert caught.value.problems[0].key == key


def test_data_without_labels_have_none_to_choose() -> None:
    bare = Samples(lambda i: {"image": i}, ["x", "y"])
    assert len(choose_part(bare)) == 2
    with pytest.raises(ConfigError, match="no labels"):
        choose_part(bare, labels_per_class=1)


def test_forty_digits_four_of_each() -> None:
    chosen = indexed("digits", subset="train", labels_per_class=4, part="labelled")
    assert np.bincount(chosen.targets).tolist() == [4] * 10
    again = indexed("digits", subset="train", labels_per_class=4, part="labelled")
    assert chosen.row_ids() == again.row_ids()
