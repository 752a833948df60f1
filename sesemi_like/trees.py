"""Trees: tensors and other values in nested dicts, lists and tuples: batch fields, outputs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


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


def tensors_of(tree: Any) -> list[Tensor]:
    """Lists the leaves of a tree that are tensors, leaving out arrays, numbers and text.

    Args:
        tree: As for :func:`tree_leaves`.
    """
    return [leaf for leaf in _iterate_leaves(tree) if isinstance(leaf, Tensor)]


def to_device(tree: Any, device: torch.device | str) -> Any:
    """Copies the tensors of a tree to a device; other leaves stay what they are.

    Args:
        tree: As for :func:`tree_leaves`; it is not changed.
        device: Where the tensors of the new tree are.
    """
    return tree_map(lambda leaf: leaf.to(device) if isinstance(leaf, Tensor) else leaf, tree)


def with_parts(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Offers each part of a nested field under its dotted name, beside the field as a whole.

    Args:
        fields: Values by name; dicts among them have parts, at any depth, if their keys are text.

    Returns:
        The same values and, where ``text`` is a dict with ``input_ids``, ``text.input_ids`` as
        well, right behind it. A name of its own comes before a part of another.
    """
    if not any(isinstance(value, dict) for value in fields.values()):
        return dict(fields)
    named: dict[str, Any] = {}
    for name, value in fields.items():
        named[name] = value
        if isinstance(value, dict):
            parts = with_parts({f"{name}.{part}": leaf for part, leaf in value.items()})
            named |= {part: leaf for part, leaf in parts.items() if part not in fields}
    return named


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
