"""Which tensors of a learner's state dict belong to what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...models.heads.loss.base import Forward
from ..base import Learner


def of_networks(learner: Learner, names: Iterable[str]) -> set[str]:
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


def evaluated(learner: Learner) -> set[str]:
    """The tensors that decide what is evaluated."""
    requests = learner.evaluated_forwards().values()
    return of_networks(learner, {name for request in requests for name in _through(request)})


def transferred(learner: Learner) -> set[str]:
    """The tensors that one takes weights over for: of each network its backbone, if it has one.

    Heads differ with the classes, and EMA teachers are copies.
    """
    found: set[str] = set()
    for name in set(learner.networks.modules_by_name) - set(learner.averaged_networks()):
        tensors = of_networks(learner, [name])
        backbone = {tensor for tensor in tensors if f".{name}.backbone." in tensor}
        found |= backbone or tensors
    return found


def _through(request: Forward) -> Iterator[str]:
    if request.through is not None:
        yield request.through
    parts = request.data if isinstance(request.data, tuple) else (request.data,)
    for part in parts:
        if isinstance(part, Forward):
            yield from _through(part)
