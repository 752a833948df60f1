"""The resolvers ${app:...} and ${sesemi:...}: what is known only once a run has its data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

from omegaconf import OmegaConf

from ..errors import suggest


@dataclass(frozen=True)
class AppAttributes:
    """What a config may refer to as ``${app:name}``.

    Attributes:
        iterations_per_epoch: Optimizer steps of one pass over the longest train loader, or None
            without train data of known length.
        max_iterations: Optimizer steps of the whole run, or None without train data.
        num_gpus: GPUs used on each node; 0 on the CPU.
        num_nodes: Machines that take part.
    """

    iterations_per_epoch: int | None
    max_iterations: int | None
    num_gpus: int
    num_nodes: int


_current: list[AppAttributes] = []


def resolve(name: str) -> int | str | None:
    """Resolves ``${app:name}``.

    Returns:
        The attribute of the current run; outside a run, a text that says when it is known.

    Raises:
        ValueError: If there is no such attribute.
    """
    known = [field.name for field in fields(AppAttributes)]
    if name not in known:
        raise ValueError(f"${{app:{name}}} is unknown; {suggest(name, known, noun='there are')}")
    if not _current:
        return f"<{name}: known once the run has read its data>"
    value: int | None = getattr(_current[-1], name)
    return value


@contextmanager
def app_attributes(attributes: AppAttributes) -> Iterator[None]:
    """Makes the attributes of a run known while it lasts; runs in one process never mix.

    Args:
        attributes: What ``${app:...}`` returns inside the context.
    """
    _current.append(attributes)
    try:
        yield
    finally:
        _current.pop()


def register_resolvers() -> None:
    """Registers ``${app:...}`` and its second name ``${sesemi:...}``; harmless when repeated."""
    for name in ("app", "sesemi"):
        OmegaConf.register_new_resolver(name, resolve, replace=True, use_cache=False)
