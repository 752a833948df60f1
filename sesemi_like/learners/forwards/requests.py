"""Requests taken apart: what they read, and what of it does not exist."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ...errors import ConfigProblem, suggest
from ...models.heads.loss.requests import Fields, Forward
from ...models.networks import Networks
from ...models.norm import POLICIES
from .callables import Callables

Requests = Mapping[str, Mapping[str, Forward]]
"""What each reader asks for: ``{reader: {request name: Forward}}``."""


def items(request: Forward) -> tuple[str | Forward | tuple[Any, ...], ...]:
    """The positional arguments of a request."""
    return request.data if isinstance(request.data, tuple) else (request.data,)


def read_by(request: Forward) -> Iterator[str | Forward]:
    """All fields and requests that a request reads directly, also from tuples within its data."""
    yield from _flat(items(request))
    if request.rows is not None:
        yield request.rows


def fields_of(request: Forward) -> list[str]:
    """The full names of all batch fields that a request reads, its inner requests included."""
    names: list[str] = []
    for item in read_by(request):
        names += fields_of(item) if isinstance(item, Forward) else [item]
    return names


def with_fields(request: Forward, rename: Callable[[str], str]) -> Forward:
    """The same request of other fields.

    Args:
        request: The request.
        rename: The full name of a field -> its new name.
    """

    def renamed(item: Any) -> Any:
        if isinstance(item, str):
            return rename(item)
        return with_fields(item, rename) if isinstance(item, Forward) else tuple(map(renamed, item))

    rows = None if request.rows is None else with_fields(request.rows, rename)
    return replace(request, data=renamed(request.data), rows=rows)


def request_problems(
    requests: Requests,
    fields: Fields,
    networks: Networks,
    keys: Mapping[str, str],
    *,
    heads: Mapping[str, Any] | None = None,
    functions: Mapping[str, Callable[..., Any]] | None = None,
) -> list[ConfigProblem]:
    """Finds requests for fields, networks or functions that do not exist.

    Args:
        requests: What each reader asks for.
        fields: The field names of every loader.
        networks: The networks there are.
        keys: The config key of each reader.
        heads: Those of the readers that have methods to go through.
        functions: The functions there are.

    Returns:
        The problems, each told once, at the first of those who ask for the same; empty when all
        requests are possible.
    """
    callables = Callables(networks, heads, functions)
    problems = [
        problem
        for reader, asked in requests.items()
        for request in asked.values()
        for problem in _problems_of(request, fields, callables, reader, keys[reader])
    ]
    told: dict[tuple[str, str], ConfigProblem] = {}
    for problem in problems:
        told.setdefault((str(problem.value), problem.expected), problem)
    return list(told.values())


def _problems_of(
    request: Forward, fields: Fields, callables: Callables, reader: str, key: str
) -> Iterable[ConfigProblem]:
    yield from _own_problems(request, callables, reader, key)
    for item in read_by(request):
        if isinstance(item, Forward):
            yield from _problems_of(item, fields, callables, reader, key)
        else:
            yield from _field_problems(item, fields, key)


def _own_problems(
    request: Forward, callables: Callables, reader: str, key: str
) -> Iterator[ConfigProblem]:
    through = request.through
    if through is not None and callables.canonical(through, reader) not in callables:
        expected = f"no such network; {suggest(through, callables.names, noun='networks')}"
        if through.startswith("self."):
            expected = "the loss head has no such method"
        yield ConfigProblem(key, through, expected)
    if request.norm not in POLICIES:
        yield ConfigProblem(key, request.norm, f"norm must be one of {', '.join(POLICIES)}")


def _field_problems(name: str, fields: Fields, key: str) -> Iterator[ConfigProblem]:
    loader, _, field = name.partition(".")
    if loader not in fields:
        expected = f"there is no train loader {loader!r}; {suggest(loader, fields, noun='loaders')}"
        yield ConfigProblem(key, name, expected)
    elif field not in fields[loader]:
        known = suggest(field, fields[loader], noun="it offers")
        yield ConfigProblem(
            key,
            name,
            f"data.train.{loader} offers no {field!r}; {known}; "
            f"views are named under data.train.{loader}.views",
        )


def _flat(data: tuple[Any, ...]) -> Iterator[str | Forward]:
    for item in data:
        if isinstance(item, tuple):
            yield from _flat(item)
        else:
            yield item
