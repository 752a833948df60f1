"""What requests go through: networks, the methods of heads, and functions of the learner."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

from ...models.networks import Networks

_SELF = "self."
_OF = ":self."  # after a head's name: a method of that head
_PART = "."  # before a name: the part of a mapping that has it


class Callables:
    """Finds what a request goes through by its name.

    Args:
        networks: The networks and their methods.
        heads: What asks, by name: ``"self.mix"`` is the method `mix` of the head that asks for it.
        functions: Functions without parameters, by name.
    """

    def __init__(
        self,
        networks: Networks,
        heads: Mapping[str, Any] | None = None,
        functions: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        self.networks = networks
        self.heads = dict(heads or {})
        self.functions = dict(functions or {})

    @property
    def names(self) -> list[str]:
        """Every name a request may use, methods apart."""
        return [*self.networks.names, *self.functions]

    def canonical(self, through: str, reader: str) -> str:
        """The same name for all who ask: aliases replaced, the head of a method of its own named.

        Args:
            through: What a request goes through.
            reader: Who asks.
        """
        if through.startswith(_SELF):
            return f"{reader}:{through}"
        return self.networks.canonical(through) if self.is_network(through) else through

    def is_network(self, through: str) -> bool:
        """Whether a canonical name is that of a network, or of a method of one."""
        is_part = through.startswith(_PART)
        return not is_part and through not in self.functions and _OF not in through

    def __contains__(self, through: str) -> bool:
        if through.startswith(_PART):
            return len(through) > len(_PART)
        head, own, method = through.partition(_OF)
        if own:
            return callable(getattr(self.heads.get(head), method, None))
        return through in self.functions or through in self.networks

    def __getitem__(self, through: str) -> Callable[..., Any]:
        if through.startswith(_PART):
            return partial(_part, through.removeprefix(_PART))
        head, own, method = through.partition(_OF)
        if own:
            found: Callable[..., Any] = getattr(self.heads[head], method)
            return found
        return self.functions.get(through) or self.networks[through]

    def module(self, through: str) -> nn.Module:
        """The module behind the canonical name of a network."""
        return self.networks.module(through)

    def draws(self, through: str) -> bool:
        """Whether it has a parameter `generator`, which is given a seeded one."""
        function = self[through]
        called = function.forward if isinstance(function, nn.Module) else function
        try:
            return "generator" in inspect.signature(called).parameters
        except (TypeError, ValueError):  # some built-in functions have no signature
            return False


def _part(name: str, answer: Any) -> Any:
    if isinstance(answer, Mapping) and name in answer:
        return answer[name]
    found = ", ".join(map(str, answer)) if isinstance(answer, Mapping) else type(answer).__name__
    raise ValueError(f"what was answered has no part {name!r}: found {found}")
