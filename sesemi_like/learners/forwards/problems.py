"""What of the requests of all readers does not exist: fields, networks, methods and functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigProblem, suggest
from ...models.heads.loss.requests import Fields, Forward, Given
from ...models.networks import Networks
from ...models.norm import POLICIES
from .callables import Callables
from .canonical import CanonicalRequests
from .requests import Requests, read_by


def request_problems(
    requests: Requests,
    fields: Fields,
    networks: Networks,
    keys: Mapping[str, str],
    *,
    heads: Mapping[str, Any] | None = None,
    functions: Mapping[str, Callable[..., Any]] | None = None,
    given: Given | None = None,
) -> list[ConfigProblem]:
    """Finds requests for fields, networks or functions that do not exist.

    Args:
        requests: What each reader asks for.
        fields: The field names of every loader.
        networks: The networks there are.
        keys: The config key of each reader.
        heads: Those of the readers that have methods to go through.
        functions: The functions there are.
        given: What answers a request, which need not be possible otherwise.

    Returns:
        The problems, each told once, at the first of those who ask for the same; empty when all
        requests are possible.
    """
    known = _Known(fields, CanonicalRequests(Callables(networks, heads, functions), given or {}))
    problems = [
        problem
        for reader, asked in requests.items()
        for request in asked.values()
        for problem in _problems_of(request, known, reader, keys[reader])
    ]
    told: dict[tuple[str, str], ConfigProblem] = {}
    for problem in problems:
        told.setdefault((str(problem.value), problem.expected), problem)
    return list(told.values())


@dataclass(frozen=True)
class _Known:
    """What requests may name."""

    fields: Fields
    canonical: CanonicalRequests


def _problems_of(request: Forward, known: _Known, reader: str, key: str) -> Iterator[ConfigProblem]:
    if answer := known.canonical.answer_to(request, reader):
        yield from _problems_of(answer, known, reader, key)
        return
    yield from _own_problems(request, known.canonical.callables, reader, key)
    for item in read_by(request):
        if isinstance(item, Forward):
            yield from _problems_of(item, known, reader, key)
        else:
            yield from _field_problems(item, known.fields, key)


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
