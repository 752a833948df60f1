"""Trees of tensors against hand-written results."""

from collections import OrderedDict, namedtuple
from typing import Any

import pytest
import torch

from sesemi_like.trees import (
    replace_leaves,
    tensors_of,
    to_device,
    tree_leaves,
    tree_map,
    with_parts,
)

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


def test_tensors_are_found_and_moved_among_other_leaves() -> None:
    ids, value = torch.arange(3), torch.ones(2)
    tree: Any = {"text": {"ids": ids, "raw": ["a", "b"]}, "value": [value, 7, None]}
    found = tensors_of(tree)
    assert len(found) == 2 and found[0] is ids and found[1] is value
    moved = to_device(tree, "meta")
    assert [tensor.device.type for tensor in tensors_of(moved)] == ["meta", "meta"]
    assert moved["text"]["raw"] == ["a", "b"] and moved["value"][1:] == [7, None]
    assert tree["text"]["ids"].device.type == "cpu"


def test_parts_of_nested_fields_are_offered_by_dotted_names() -> None:
    fields = {"text": {"ids": 1, "spans": {"start": 2}}, "image": 3, "text.ids": 4}
    named = with_parts(fields)
    assert named == {
        "text": {"ids": 1, "spans": {"start": 2}},
        "text.spans": {"start": 2},
        "text.spans.start": 2,
        "image": 3,
        "text.ids": 4,
    }
    assert named["text"] is fields["text"]
    assert with_parts({"image": 3}) == {"image": 3}
