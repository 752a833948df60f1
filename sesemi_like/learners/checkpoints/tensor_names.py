"""What tensors of a learner's state dict are called, since when, and what they belong to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ...models.heads.loss.base import Forward

if TYPE_CHECKING:
    from ..base import Learner

Value = TypeVar("Value")

RENAMED: tuple[tuple[str, str], ...] = (
    (r"(^|\.)_orig_mod\.", r"\1"),  # what torch.compile puts around a network
)
"""Patterns of names that tensors had, and what they are called since: all reading goes by them."""

_ADAPTED = ".base_layer."
"""What lies between a layer's name and its weight's where it has an adapter."""


def translated(tensors: Mapping[str, Value]) -> dict[str, Value]:
    """Gives tensors of a checkpoint, however old, the names that they have today.

    Args:
        tensors: Anything by the names of tensors.
    """
    return {_name_today(name): value for name, value in tensors.items()}


def _name_today(name: str) -> str:
    for pattern, replacement in RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def beside_adapters(own: Iterable[str], tensors: Mapping[str, Value]) -> dict[str, Value]:
    """Gives weights of layers that have an adapter here alone the names that they have here.

    Weights of layers that had an adapter keep theirs: without it they are not what was trained.

    Args:
        own: The names of a learner's tensors.
        tensors: Anything by the names of a checkpoint's tensors.
    """
    adapted = {name.replace(_ADAPTED, "."): name for name in own if _ADAPTED in name}
    return {adapted.get(name, name): value for name, value in tensors.items()}


def tensors_of(learner: Learner, names: Iterable[str]) -> set[str]:
    """The names in the state dict of all tensors of some networks.

    Args:
        learner: The learner.
        names: Names of its networks; aliases and methods count for their network.
    """
    modules = {id(learner.networks.module(name)) for name in names}
    prefixes = tuple(f"{n}." for n, m in learner.named_modules() if id(m) in modules)
    return (
        {name for name in learner.state_dict() if name.startswith(prefixes)} if prefixes else set()
    )


def evaluated_tensors(learner: Learner) -> set[str]:
    """The tensors that decide what is evaluated."""
    requests = learner.evaluated_forwards().values()
    names = {name for request in requests for name in _through(request)}
    return tensors_of(learner, {name for name in names if name in learner.networks})


def backbone_tensors(learner: Learner) -> set[str]:
    """The tensors that one takes weights over for: of the networks with a backbone that backbone.

    Heads differ with the classes, projectors with the method, and EMA teachers are copies. Where no
    network has a backbone, all tensors count.
    """
    names = set(learner.networks.modules_by_name) - set(learner.averaged_networks())
    every = {name: tensors_of(learner, [name]) for name in names}
    backbones = {t for name, own in every.items() for t in own if f".{name}.backbone." in t}
    return backbones or {tensor for own in every.values() for tensor in own}


def _through(data: Any) -> Iterator[str]:
    """All that a request, or what lies within its data, goes through."""
    if isinstance(data, tuple):
        for part in data:
            yield from _through(part)
    elif isinstance(data, Forward):
        if data.through is not None:
            yield data.through
        yield from _through(data.data)
