"""Trees: tensors and other values in nested dicts, lists and tuples, as batches and outputs are."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch


def tree_leaves(tree: Any) -> list[Any]:
    """Lists the leaves of a tree, in the order of its dicts, lists and tuples.

    Args:
        tree: Nested dicts, lists and tuples, subclasses included; anything else is a leaf, None and
            ``torch.Size`` as well.
    """
    return list(_iterate_leaves(tree))


def tree_map(function: Callable[[Any], Any], tree: Any) -> Any:
    """Applies a function to every leaf, in the order of :func:`tree_leaves`.

    Args:
        function: leaf -> new leaf.
        tree: As for :func:`tree_leaves`; it is not changed.

    Returns:
        A tree of the same structure and types: a subclass of dict with further attributes, such as
        a language model's output, keeps them.
    """
    if isinstance(tree, dict):
        mapped = copy.copy(tree)
        for name, value in tree.items():
            mapped[name] = tree_map(function, value)
        return mapped
    if not _is_sequence(tree):
        return function(tree)
    items = [tree_map(function, item) for item in tree]
    is_namedtuple = hasattr(tree, "_fields")
    return type(tree)(*items) if is_namedtuple else type(tree)(items)


def replace_leaves(tree: Any, leaves: Iterable[Any]) -> Any:
    """Puts other leaves into a tree.

    Args:
        tree: As for :func:`tree_leaves`; it is not changed.
        leaves: As many as the tree has, in its order.
    """
    following = iter(leaves)
    return tree_map(lambda _: next(following), tree)


def _iterate_leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict) or _is_sequence(tree):
        for item in tree.values() if isinstance(tree, dict) else tree:
            yield from _iterate_leaves(item)
    else:
        yield tree


def _is_sequence(tree: Any) -> bool:
    return isinstance(tree, list | tuple) and not isinstance(tree, torch.Size)
