"""Trees of tensors against hand-written results."""

from collections import OrderedDict, namedtuple
from typing import Any

import pytest
import torch

from sesemi_like.trees import replace_leaves, tree_leaves, tree_map

Point = namedtuple("Point", "x y")


class Output(OrderedDict[str, Any]):
    """Like a language model's output: a dict with attributes."""

    name = "unset"


TREE = {"b": [1, (2, Point(3, 4))], "a": {"c": None, "d": "text"}, "e": [], "f": torch.Size([2, 3])}
LEAVES = [1, 2, 3, 4, None, "text", torch.Size([2, 3])]


def test_leaves_come_in_the_order_of_the_tree() -> None:
    assert tree_leaves(TREE) == LEAVES
    assert tree_leaves(7) == [7]
    assert tree_leaves({}) == []


def test_map_keeps_structure_and_types() -> None:
    mapped = tree_map(lambda leaf: (str(leaf),), {"b": [1, (2, Point(3, 4))], "a": {"c": None}})
    assert mapped == {"b": [("1",), (("2",), Point(("3",), ("4",)))], "a": {"c": ("None",)}}
    assert isinstance(mapped["b"][1][1], Point)
    assert list(mapped) == ["b", "a"]


def test_map_leaves_its_tree_unchanged_and_keeps_attributes_of_a_dict() -> None:
    tree = Output(logits=torch.ones(2), states=[torch.zeros(1)])
    tree.name = "model"
    doubled = tree_map(lambda leaf: leaf * 2, tree)
    assert type(doubled) is Output
    assert doubled.name == "model"
    assert torch.equal(doubled["logits"], torch.full((2,), 2.0))
    assert torch.equal(tree["logits"], torch.ones(2))
    assert doubled["states"] is not tree["states"]


def test_replacing_leaves_is_the_inverse_of_listing_them() -> None:
    assert replace_leaves(TREE, LEAVES) == TREE
    assert tree_leaves(replace_leaves(TREE, range(7))) == list(range(7))


@pytest.mark.parametrize("tree", [torch.ones(2), "text", None, {1, 2}])
def test_anything_else_is_a_leaf(tree: Any) -> None:
    assert tree_map(lambda leaf: leaf, tree) is tree
