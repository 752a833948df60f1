"""Facts about data as plain values, and what heads ask of them."""

import json

import pytest

from sesemi_like.config.facts import DataFacts
from sesemi_like.errors import ConfigError

FACTS = DataFacts(
    rows={"train.unlabeled": 7, "train.stream": None, "val": 3},
    largest_index={"train.unlabeled": 11, "train.stream": None, "val": 2},
    fields={"train.unlabeled": ["image", "index"]},
    label_counts={"supervised": {"cat": 2, "dog": 1}},
    class_counts={"supervised": [2, 1, 0]},
    classes=["cat", "dog", "emu"],
    num_classes=3,
    steps_per_epoch=5,
)


def test_they_are_plain_values_and_back() -> None:
    plain = FACTS.plain()
    assert DataFacts.from_plain(json.loads(json.dumps(plain))) == FACTS
    assert DataFacts.from_plain({**plain, "known_later": 1}) == FACTS
    assert DataFacts.from_plain(None) == DataFacts()
    assert DataFacts.from_plain(FACTS) is FACTS


def test_a_table_has_a_row_for_every_index() -> None:
    assert FACTS.num_indices("unlabeled") == 12
    for loader in ("stream", "missing"):
        with pytest.raises(ConfigError, match=rf"data\.train\.{loader}.*must be known"):
            FACTS.num_indices(loader)


def test_labels_are_counted_by_class() -> None:
    assert FACTS.labels_by_class("supervised") == [2, 1, 0]
    with pytest.raises(ConfigError, match=r"data\.train\.unlabeled.*labels of each class"):
        FACTS.labels_by_class("unlabeled")
