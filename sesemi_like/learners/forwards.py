"""The forward plan: merges what the heads ask for and runs each distinct forward exactly once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigProblem, suggest
from ..models.heads.loss.base import Fields, Forward
from ..models.networks import Networks
from ..trees import replace_leaves, tree_leaves, tree_map

Requests = Mapping[str, Mapping[str, Forward]]
"""What each reader asks for: ``{reader: {request name: Forward}}``."""


@dataclass(frozen=True)
class _Node:
    """One distinct forward: its data as (request, detached?) pairs, its network, its depth."""

    request: Forward
    inputs: tuple[Forward | str, ...]
    grad: bool
    depth: int


class ForwardPlan:
    """What to run in a step, settled once for a set of requests.

    Args:
        requests: What each reader asks for.
        networks: The networks the requests go through.
        joined: Whether rows for the same network are stacked into one call where their shapes
            allow it. A network with BatchNorm in training mode then normalizes over all of them
            together; otherwise the results are the same.
        apart: Networks, as requests name them, whose rows are not stacked all the same.
    """

    def __init__(
        self,
        requests: Requests,
        networks: Networks,
        *,
        joined: bool = False,
        apart: Collection[str] = (),
    ) -> None:
        self.networks = networks
        self.joined = joined
        self.requests = {
            reader: {name: self._canonicalize(r) for name, r in asked.items()}
            for reader, asked in requests.items()
        }
        wanted = [request for asked in self.requests.values() for request in asked.values()]
        self.fields = sorted({name for request in wanted for name in fields_of(request)})
        self._groups = _group(_build_nodes(wanted), joined=joined, apart=apart)

    @property
    def num_calls(self) -> int:
        """Calls of networks that a step makes where all rows can be stacked that may be."""
        return len(self._groups)

    @property
    def called(self) -> set[str]:
        """The networks that are called, as requests name them."""
        return {str(group[0].request.through) for group in self._groups}

    @property
    def stacked(self) -> set[str]:
        """Those whose rows are stacked where their shapes allow it."""
        return {str(group[0].request.through) for group in self._groups if len(group) > 1}

    def part(self, name: str, *, joined: bool) -> ForwardPlan:
        """The calls of one network alone, and of what their rows come from.

        Args:
            name: The network, as requests name it.
            joined: Whether its rows are stacked.
        """
        nodes = [node for group in self._groups for node in group if node.request.through == name]
        requests = {name: {str(number): node.request for number, node in enumerate(nodes)}}
        apart = self.called - {name}
        return ForwardPlan(requests, self.networks, joined=joined, apart=apart)

    def run(self, batch: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
        """Runs every distinct forward once.

        Args:
            batch: The fields of this step by full name.

        Returns:
            ``{reader: {request name: output}}``; an output that was asked for without gradients is
            detached.
        """
        values: dict[Forward, Any] = {}
        for group in self._groups:
            values.update(self._run_group(group, values, batch))
        return {
            reader: {name: _read(request, values, batch) for name, request in asked.items()}
            for reader, asked in self.requests.items()
        }

    def _run_group(
        self, group: list[_Node], values: Mapping[Forward, Any], batch: Mapping[str, Tensor]
    ) -> dict[Forward, Any]:
        network = self.networks[str(group[0].request.through)]
        inputs = [tuple(_read(i, values, batch) for i in node.inputs) for node in group]
        with nullcontext() if group[0].grad else torch.no_grad():
            if len(group) > 1 and _can_stack(inputs):
                outputs = _call_joined(network, [rows for (rows,) in inputs])
            else:
                outputs = [network(*arguments) for arguments in inputs]
        return {
            _distinct(node.request): output for node, output in zip(group, outputs, strict=True)
        }

    def _canonicalize(self, request: Forward) -> Forward:
        """The same request with aliases replaced, so that equal forwards are equal."""
        data = tuple(
            self._canonicalize(item) if isinstance(item, Forward) else item
            for item in _items(request)
        )
        through = None if request.through is None else self.networks.canonical(request.through)
        return replace(request, data=data if len(data) > 1 else data[0], through=through)


def request_problems(
    requests: Requests, fields: Fields, networks: Networks, keys: Mapping[str, str]
) -> list[ConfigProblem]:
    """Finds requests for fields or networks that do not exist.

    Args:
        requests: What each reader asks for.
        fields: The field names of every loader.
        networks: The networks there are.
        keys: The config key of each reader.

    Returns:
        The problems; empty when all requests are possible.
    """
    return [
        problem
        for reader, asked in requests.items()
        for request in asked.values()
        for problem in _problems_of(request, fields, networks, keys[reader])
    ]


def _problems_of(
    request: Forward, fields: Fields, networks: Networks, key: str
) -> Iterable[ConfigProblem]:
    if request.through is not None and request.through not in networks:
        expected = f"no such network; {suggest(request.through, networks.names, noun='networks')}"
        yield ConfigProblem(key, request.through, expected)
    for item in _items(request):
        if isinstance(item, Forward):
            yield from _problems_of(item, fields, networks, key)
            continue
        loader, _, field = item.partition(".")
        if loader not in fields:
            expected = (
                f"there is no train loader {loader!r}; {suggest(loader, fields, noun='loaders')}"
            )
            yield ConfigProblem(key, item, expected)
        elif field not in fields[loader]:
            known = suggest(field, fields[loader], noun="it offers")
            yield ConfigProblem(
                key,
                item,
                f"data.train.{loader} offers no {field!r}; {known}; "
                f"views are named under data.train.{loader}.views",
            )


def _items(request: Forward) -> tuple[str | Forward, ...]:
    return request.data if isinstance(request.data, tuple) else (request.data,)


def _distinct(request: Forward) -> Forward:
    """What makes a forward distinct: everything but whether its reader wants gradients."""
    return replace(request, grad=True)


def fields_of(request: Forward) -> list[str]:
    """The full names of all batch fields that a request reads, its inner requests included."""
    names: list[str] = []
    for item in _items(request):
        names += fields_of(item) if isinstance(item, Forward) else [item]
    return names


def _depth(request: Forward) -> int:
    inner = [_depth(item) for item in _items(request) if isinstance(item, Forward)]
    return 1 + max(inner, default=0)


def _all_requests(request: Forward) -> list[Forward]:
    inner = [
        r for item in _items(request) if isinstance(item, Forward) for r in _all_requests(item)
    ]
    return [*inner, request]


def _build_nodes(wanted: Iterable[Forward]) -> list[_Node]:
    """The distinct forwards, inner ones first; with gradients where any reader wants them."""
    requests = [r for request in wanted for r in _all_requests(request) if r.through is not None]
    with_grad = {_distinct(request) for request in requests if request.grad}
    distinct = dict.fromkeys(_distinct(request) for request in requests)
    nodes = [_Node(key, _items(key), key in with_grad, _depth(key)) for key in distinct]
    return sorted(nodes, key=lambda node: node.depth)


def _group(nodes: Iterable[_Node], *, joined: bool, apart: Collection[str]) -> list[list[_Node]]:
    """Forwards that may share one call: same depth, network and need of gradients, one input."""
    groups: dict[Any, list[_Node]] = {}
    for node in nodes:
        alone = not joined or len(node.inputs) > 1 or node.request.through in apart
        together = (node.depth, node.request.through, node.grad)
        groups.setdefault((node.depth, node.request) if alone else together, []).append(node)
    return list(groups.values())


def _read(
    request: Forward | str, values: Mapping[Forward, Any], batch: Mapping[str, Tensor]
) -> Any:
    """The value of a field or request, detached where its reader wants no gradients."""
    if isinstance(request, str):
        return batch[request]
    if request.through is None:
        read = [_read(item, values, batch) for item in _items(request)]
        value: Any = tuple(read) if len(read) > 1 else read[0]
    else:
        value = values[_distinct(request)]
    return value if request.grad else tree_map(_detach, value)


def _detach(leaf: Any) -> Any:
    return leaf.detach() if isinstance(leaf, Tensor) else leaf


def _can_stack(inputs: Iterable[tuple[Any, ...]]) -> bool:
    rows = [arguments[0] for arguments in inputs]
    kinds = {(r.shape[1:], r.dtype) for r in rows if isinstance(r, Tensor)}
    return len(kinds) == 1 and all(isinstance(r, Tensor) for r in rows)


def _call_joined(network: Any, inputs: list[Tensor]) -> list[Any]:
    """Calls a network once on stacked rows and splits every tensor of its output again."""
    sizes = [len(rows) for rows in inputs]
    output = network(torch.cat(inputs))
    leaves = tree_leaves(output)
    if not all(isinstance(x, Tensor) and x.shape[:1] == (sum(sizes),) for x in leaves):
        raise ValueError(
            "an output has parts that are not tensors with one row per input row; "
            "model.forward: separate takes such networks"
        )
    pieces = zip(*(leaf.split(sizes) for leaf in leaves), strict=True)
    return [replace_leaves(output, piece) for piece in pieces]
