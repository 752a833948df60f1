"""A call of one network for several requests: rows of one shape in one call, none in none."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from .no_rows import NoRows
from .rows import count_rows, kind_of, stack, unstack

Arguments = Sequence[Any]


@dataclass(frozen=True)
class NetworkCall:
    """Calls one network for several requests.

    Attributes:
        through: Its name.
        network: What is called.
        module: The module behind it.
        no_rows: Answers for it where there are no rows.
    """

    through: str
    network: Callable[..., Any]
    module: nn.Module
    no_rows: NoRows

    def on(self, requests: Sequence[Arguments]) -> list[Any]:
        """Calls it once for all requests whose rows can be stacked.

        Args:
            requests: The arguments of each request.

        Returns:
            The output of each request.
        """
        counts = [count_rows(arguments) for arguments in requests]
        if len(requests) == 1:
            return [self._once(requests[0], counts[0])]
        outputs: list[Any] = [None] * len(requests)
        for members in _alike(requests, counts):
            answers = self._together([requests[i] for i in members], [counts[i] for i in members])
            for i, answer in zip(members, answers, strict=True):
                outputs[i] = answer
        return outputs

    def _together(self, requests: list[Arguments], counts: Sequence[int | None]) -> list[Any]:
        sizes = [count for count in counts if count is not None]
        if len(requests) == 1 or not any(sizes):
            return [self._once(given, n) for given, n in zip(requests, counts, strict=True)]
        output = self.network(*stack(requests))
        self.no_rows.note(self.through, output, sum(sizes))
        return unstack(output, sizes)

    def _once(self, arguments: Arguments, count: int | None) -> Any:
        if count == 0:
            return self.no_rows.answer(self.through, self.network, self.module, arguments)
        output = self.network(*arguments)
        self.no_rows.note(self.through, output, count)
        return output


def _alike(requests: Sequence[Arguments], counts: Sequence[int | None]) -> list[list[int]]:
    """Which requests have rows of one kind; what has no rows stays alone."""
    groups: dict[Hashable, list[int]] = {}
    for i, (arguments, count) in enumerate(zip(requests, counts, strict=True)):
        kind = ("alone", i) if count is None else kind_of(arguments)
        groups.setdefault(kind, []).append(i)
    return list(groups.values())
