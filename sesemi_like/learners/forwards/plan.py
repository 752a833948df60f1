"""The forward plan: merges what readers ask for and runs each distinct forward exactly once."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Hashable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...models.heads.loss.requests import Given
from ...models.networks import Networks
from ...models.norm import batch_norm
from ...trees import tree_map
from .callables import Callables
from .canonical import CanonicalRequests
from .network_call import NetworkCall
from .no_rows import NoRows
from .nodes import Copy, Node, NodeGraph
from .requests import Requests
from .rows import Kept
from .schedule import Op, Turn, turns_of

_Values = list[Any]
_Functions = Mapping[str, Callable[..., Any]]
_Run = Callable[[_Values, _Functions, int], None]


class ForwardPlan:
    """What to run in a step, settled once for a set of requests.

    Results lie in numbered slots, and are dropped after the last that reads them.

    Args:
        requests: What each reader asks for.
        networks: The networks the requests go through.
        joined: Whether rows for the same network are stacked into one call where their shapes
            allow it. A network with BatchNorm in training mode then normalizes over all of them
            together; otherwise the results are the same.
        together: Joined, and rows that nobody wants gradients of are in the same call: they are
            detached afterwards.
        apart: Networks, as requests name them, whose rows are not stacked all the same.
        heads: Those of the readers that have methods which requests go through.
        functions: The functions that requests go through, by name.
        given: The batch fields, or other requests, that answer a request, which is not run.
        selecting: The networks, as requests name them, of which only the rows are run that weigh
            something, where a request says so.
        half: For trials: every second row counts as one that weighs something, the first included.

    Attributes:
        fields: The full names of the batch fields that are read.
        weighed: The networks, as requests name them, of which not all rows need be run.
    """

    def __init__(
        self,
        requests: Requests,
        networks: Networks,
        *,
        joined: bool = False,
        together: bool = False,
        apart: Collection[str] = (),
        heads: Mapping[str, Any] | None = None,
        functions: Mapping[str, Callable[..., Any]] | None = None,
        given: Given | None = None,
        selecting: Collection[str] = (),
        half: bool = False,
    ) -> None:
        self.requests, self.networks = requests, networks
        self.joined, self.together = joined or together, together
        self.apart, self.selecting = set(apart), set(selecting)
        self._given, self._half = dict(given or {}), half
        self._callables = Callables(networks, heads, functions)
        canonical = CanonicalRequests(self._callables, self._given, self.selecting)
        asked, self.weighed = canonical.of(requests), canonical.weighed
        wanted = [request for named in asked.values() for request in named.values()]
        graph = NodeGraph(wanted, self._callables, canonical.seeds)
        self._answers = {
            reader: {name: graph.slot(request) for name, request in named.items()}
            for reader, named in asked.items()
        }
        self._field_slots = graph.fields
        self.fields = sorted(graph.fields)
        self._num_slots = graph.num_slots
        kept = {slot for named in self._answers.values() for slot in named.values()}
        self._turns = turns_of(graph.nodes, self._sharing, kept)
        self._throughs = {node.through for turn in self._turns for node in _nodes(turn)}
        self._no_rows = NoRows()
        self._runs = [(self._runner(turn), turn.dropped) for turn in self._turns]

    def variant(self, **settings: Any) -> ForwardPlan:
        """The plan of the same requests with other settings, such as `joined` or `apart`."""
        names = ("joined", "together", "apart", "selecting")
        kept = {name: getattr(self, name) for name in names}
        return self._with(self.requests, **{**kept, **settings})

    def part(self, name: str, *, joined: bool) -> ForwardPlan:
        """The calls of one network alone, and of what their rows come from.

        Args:
            name: The network, as requests name it.
            joined: Whether its rows are stacked.
        """
        nodes = [node for turn in self._turns for node in _nodes(turn) if node.through == name]
        requests = {name: {str(number): node.request for number, node in enumerate(nodes)}}
        return self._with(
            requests, joined=joined, apart=self.called - {name}, selecting=self.selecting
        )

    def _with(self, requests: Requests, **settings: Any) -> ForwardPlan:
        heads, functions = self._callables.heads, self._callables.functions
        plan = ForwardPlan(
            requests,
            self.networks,
            heads=heads,
            functions=functions,
            given=self._given,
            **settings,
        )
        plan._no_rows = self._no_rows
        return plan

    @property
    def num_calls(self) -> int:
        """Calls of networks that a step makes where all rows can be stacked that may be."""
        return len(self._calls)

    @property
    def called(self) -> set[str]:
        """The networks that are called, as requests name them."""
        return {nodes[0].through for nodes in self._calls}

    @property
    def stacked(self) -> set[str]:
        """Those whose rows are stacked where their shapes allow it."""
        return {nodes[0].through for nodes in self._calls if len(nodes) > 1}

    def norms_of(self, name: str, *, weighed: bool = False) -> set[str]:
        """What BatchNorm does in the calls of a network.

        Args:
            name: The network, as requests name it.
            weighed: Whether only calls count of which not all rows are run.
        """
        nodes = [node for nodes in self._calls for node in nodes if node.through == name]
        return {node.request.norm for node in nodes if node.rows is not None or not weighed}

    @property
    def modules(self) -> nn.ModuleList:
        """All that requests may go through: the networks, and the heads for their own layers."""
        heads = [*self._callables.heads.values(), *self.networks.heads.values()]
        found = dict.fromkeys(head for head in heads if isinstance(head, nn.Module))
        return nn.ModuleList([self.networks, *found])

    @property
    def _calls(self) -> list[list[Node]]:
        found = [_nodes(turn) for turn in self._turns]
        return [nodes for nodes in found if nodes and nodes[0].is_network]

    def _sharing(self, op: Op) -> Hashable:
        """What nodes have in common whose rows may be stacked; None for those that stay alone."""
        if isinstance(op, Copy) or not (self.joined and op.is_network and op.seed is None):
            return None
        if op.through in self.apart:
            return None
        grad = None if self.together else op.grad
        return op.through, op.request.norm, grad, len(op.inputs)

    def run(self, batch: Mapping[str, Any], seed: int = 0) -> dict[str, dict[str, Any]]:
        """Runs every distinct forward once.

        Args:
            batch: The fields of this step by full name.
            seed: Seeds what requests draw, together with what each of them is.

        Returns:
            ``{reader: {request name: output}}``; an output that was asked for without gradients is
            detached.
        """
        values: list[Any] = [None] * self._num_slots
        for name, slot in self._field_slots.items():
            values[slot] = batch[name]
        functions = {through: self._callables[through] for through in self._throughs}
        for run, dropped in self._runs:
            run(values, functions, seed)
            for slot in dropped:
                values[slot] = None
        return {
            reader: {name: values[slot] for name, slot in named.items()}
            for reader, named in self._answers.items()
        }

    def _runner(self, turn: Turn) -> _Run:
        """What runs a turn; as little as possible is left to find out in each step."""
        first = turn.nodes[0]
        if isinstance(first, Copy):
            return partial(_copy, first)
        if not first.is_network:
            return partial(_run_function, first)
        is_plain = first.rows is None and first.seed is None and first.request.norm == "update"
        if is_plain and len(turn.nodes) == 1:
            return partial(self._run_alone, first)
        return partial(self._run_together, _nodes(turn))

    def _run_alone(self, node: Node, values: _Values, functions: _Functions, seed: int) -> None:
        arguments = [values[slot] for slot in node.inputs]
        first = arguments[0]
        if not isinstance(first, Tensor) or not first.numel() or node.through not in self._no_rows:
            self._run_together([node], values, functions, seed)
        elif node.grad:
            values[node.slot] = functions[node.through](*arguments)
        else:
            with torch.no_grad():
                values[node.slot] = _without_grad(functions[node.through](*arguments))

    def _run_together(
        self, nodes: list[Node], values: _Values, functions: _Functions, seed: int
    ) -> None:
        first = nodes[0]
        through, norm = first.through, first.request.norm
        module = self._callables.module(through)
        arguments = [[values[slot] for slot in node.inputs] for node in nodes]
        kept = [
            None if node.rows is None else Kept.of(self._weights(values[node.rows]), given)
            for node, given in zip(nodes, arguments, strict=True)
        ]
        rows = [
            given if chosen is None else chosen.select(given)
            for chosen, given in zip(kept, arguments, strict=True)
        ]
        call = NetworkCall(through, _seeded(first, functions, seed), module, self._no_rows)
        has_grad = any(node.grad for node in nodes)
        with nullcontext() if has_grad else torch.no_grad(), batch_norm(module, norm):
            outputs = call.on(rows)
        for node, chosen, output in zip(nodes, kept, outputs, strict=True):
            value = output if chosen is None else chosen.spread(output)
            values[node.slot] = value if node.grad else _without_grad(value)

    def _weights(self, weights: Tensor) -> Tensor:
        if not self._half:
            return weights
        return torch.arange(len(weights), device=weights.device) % 2 == 0


def _nodes(turn: Turn) -> list[Node]:
    return [op for op in turn.nodes if isinstance(op, Node)]


def _copy(copy: Copy, values: _Values, functions: _Functions, seed: int) -> None:
    parts = [values[slot] for slot in copy.inputs]
    values[copy.slot] = tuple(parts) if copy.is_tuple else _without_grad(parts[0])


def _run_function(node: Node, values: _Values, functions: _Functions, seed: int) -> None:
    arguments = [values[slot] for slot in node.inputs]
    function = _seeded(node, functions, seed)
    if node.grad:
        values[node.slot] = function(*arguments)
        return
    with torch.no_grad():
        values[node.slot] = _without_grad(function(*arguments))


def _seeded(node: Node, functions: _Functions, seed: int) -> Callable[..., Any]:
    """What a node calls, with a generator if it draws."""
    function = functions[node.through]
    return function if node.seed is None else partial(function, generator=_generator(node, seed))


def _generator(node: Node, seed: int) -> torch.Generator:
    """The generator of a node in a step; on the CPU, so that it draws alike on every device."""
    return torch.Generator().manual_seed(zlib.crc32(str(seed).encode(), node.seed or 0))


def _without_grad(tree: Any) -> Any:
    """The same tree without gradients; even under no_grad a function may return what it got."""
    return tree_map(_detach, tree)


def _detach(leaf: Any) -> Any:
    return leaf.detach() if isinstance(leaf, Tensor) and leaf.requires_grad else leaf
