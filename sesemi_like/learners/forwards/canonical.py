"""Requests in the one form in which equal forwards are equal, whoever asks for them."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ...models.heads.loss.requests import Forward, Given
from ...models.norm import has_norms
from .callables import Callables
from .requests import Requests, items, read_by


def distinct(request: Forward) -> Forward:
    """What makes a forward distinct: everything but whether its reader wants gradients."""
    return request if request.grad else replace(request, grad=True)


def within(request: Forward) -> Iterator[Forward]:
    """A request and all those that it reads, inner ones first."""
    for item in read_by(request):
        if isinstance(item, Forward):
            yield from within(item)
    yield request


def parts(request: Forward) -> list[str | Forward]:
    """The arguments of a request in canonical form, none of which is a plain tuple."""
    return [part for part in items(request) if not isinstance(part, tuple)]


def _detached(item: str | Forward) -> str | Forward:
    if isinstance(item, str):
        return item
    if item.through is not None:
        return replace(item, grad=False)
    return replace(item, data=tuple(_detached(part) for part in parts(item)))


@dataclass
class CanonicalRequests:
    """The requests of all readers with aliases replaced and what is answered otherwise left out.

    Attributes:
        callables: What requests go through.
        given: The fields, or other requests, that answer a request.
        selecting: The networks of which only the rows that weigh something are run.
        seeds: What seeds the draws of each distinct request: a number of its own.
        weighed: The networks that some request need not run all rows of.
    """

    callables: Callables
    given: Given
    selecting: Collection[str] = ()
    seeds: dict[Forward, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.weighed: set[str] = set()
        self._in_full: set[Forward] = set()
        self._given = {self._plain(request, ""): name for request, name in self.given.items()}

    def of(self, requests: Requests) -> dict[str, dict[str, Forward]]:
        """Brings the requests of all readers into this form."""
        self._in_full = self._asked_in_full(requests)
        self.weighed.clear()
        return {
            reader: {name: self._canonical(request, reader) for name, request in asked.items()}
            for reader, asked in requests.items()
        }

    def answer_to(self, request: Forward, reader: str) -> Forward | None:
        """The request for what answers a request of a reader, where there is such a thing."""
        answer = self._given.get(self._plain(request, reader)) if self._given else None
        if isinstance(answer, Forward):  # of the same rows, for the same reader
            return replace(answer, grad=request.grad, rows=request.rows)
        return None if answer is None else Forward.field(answer)

    def _asked_in_full(self, requests: Requests) -> set[Forward]:
        """Forwards that some reader wants all rows of: the others then take theirs from it."""
        return {
            distinct(self._canonical(inner, reader))
            for reader, asked in requests.items()
            for request in asked.values()
            for inner in within(request)
            if inner.rows is None
        }

    def _canonical(self, request: Forward, reader: str) -> Forward:
        if request.through is None:
            return self._read(request, reader)
        if answer := self.answer_to(request, reader):
            return self._canonical(answer, reader)
        data = tuple(self._item(item, reader) for item in items(request))
        through = self.callables.canonical(request.through, reader)
        is_network = self.callables.is_network(through)
        found = Forward(
            data if len(data) > 1 else data[0],
            through,
            request.grad,
            self._norm(request, through),
        )
        if distinct(found) not in self.seeds:
            self.seeds[distinct(found)] = self._seed_of(request, reader)
        if request.rows is None or not is_network or distinct(found) in self._in_full:
            return found
        self.weighed.add(through)
        if through not in self.selecting:
            return found
        rows = self._canonical(replace(request.rows, grad=False), reader)
        return replace(found, rows=rows)

    def _norm(self, request: Forward, through: str) -> Literal["update", "batch", "eval"]:
        """What BatchNorm does; without any, and for functions, that is no difference."""
        if request.norm == "update" or not self.callables.is_network(through):
            return "update"
        if through not in self.callables:  # reported with all other problems
            return request.norm
        return request.norm if has_norms(self.callables.module(through)) else "update"

    def _seed_of(self, request: Forward, reader: str) -> int:
        return zlib.crc32(repr(self._plain(request, reader)).encode())

    def _item(self, item: Any, reader: str) -> str | Forward:
        if isinstance(item, str):
            return item
        request = item if isinstance(item, Forward) else Forward(item, through=None)
        found = self._canonical(request, reader)
        return found.data if found.through is None and isinstance(found.data, str) else found

    def _read(self, request: Forward, reader: str) -> Forward:
        """Data that are read unchanged: a field, another request, or a tuple of such."""
        data = [self._item(item, reader) for item in items(request)]
        if not request.grad:
            data = [_detached(item) for item in data]
        if len(data) > 1:
            return Forward(tuple(data), through=None)
        return data[0] if isinstance(data[0], Forward) else Forward.field(data[0])

    def _plain(self, request: Forward, reader: str) -> Forward:
        """The same request however it is answered: with aliases replaced, and all its rows."""
        data = tuple(self._plain_item(item, reader) for item in items(request))
        through = request.through
        name = None if through is None else self.callables.canonical(through, reader)
        return Forward(data if len(data) > 1 else data[0], name, norm=request.norm)

    def _plain_item(self, item: Any, reader: str) -> Any:
        if isinstance(item, tuple):
            return tuple(self._plain_item(part, reader) for part in item)
        if isinstance(item, str):
            return item
        return replace(self._plain(item, reader), grad=item.grad)
