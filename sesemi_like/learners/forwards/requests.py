"""Requests taken apart: what they read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ...models.heads.loss.requests import Forward

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


def _flat(data: tuple[Any, ...]) -> Iterator[str | Forward]:
    for item in data:
        if isinstance(item, tuple):
            yield from _flat(item)
        else:
            yield item
