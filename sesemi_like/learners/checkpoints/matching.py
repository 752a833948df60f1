"""How two sets of tensors, or of settings, compare: by name, shape and value."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Match:
    """How the names of a checkpoint and a learner compare.

    Attributes:
        loaded: Names whose weights fit.
        reshaped: Names that both have, with different shapes.
        unused: Names that the checkpoint alone has.
        untouched: Names that the learner alone has; they keep their values.
    """

    loaded: list[str]
    reshaped: list[str]
    unused: list[str]
    untouched: list[str]

    @classmethod
    def between(cls, own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Match:
        """Compares a learner's own tensors with given ones."""
        fits = {name for name in given if name in own and own[name].shape == given[name].shape}
        return cls(
            loaded=sorted(fits),
            reshaped=sorted(name for name in given if name in own and name not in fits),
            unused=sorted(name for name in given if name not in own),
            untouched=sorted(name for name in own if name not in given),
        )

    @property
    def is_whole(self) -> bool:
        """Whether the two have the same tensors."""
        return not (self.reshaped or self.unused or self.untouched)

    def __str__(self) -> str:
        rest = {
            "of another shape": self.reshaped,
            "only in the checkpoint": self.unused,
            "only in the model": self.untouched,
        }
        lines = [f"loaded {len(self.loaded)} tensors"]
        lines += [f"{len(n)} {what}: {list_names(n)}" for what, n in rest.items() if n]
        return "; ".join(lines)


def hparams_differences(
    own: Mapping[str, Any], theirs: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    """Yields (dotted key, own value, their value) of all single values that differ."""
    mine, others = dict(_leaves(own)), dict(_leaves(theirs))
    for key in sorted({*mine, *others}):
        if mine.get(key) != others.get(key):
            yield key, mine.get(key), others.get(key)


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple) and any(isinstance(v, Mapping) for v in value):
        for place, inner in enumerate(value):
            yield from _leaves(inner, f"{key}.{place}")
    else:
        yield key, list(value) if isinstance(value, tuple) else value


def list_names(names: Collection[str]) -> str:
    """The first few of some names, and how many there are."""
    some = list(names)
    return ", ".join(some[:5]) + (f", ... ({len(some)} in all)" if len(some) > 5 else "")
