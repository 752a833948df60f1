"""The distinct forwards of a set of requests as nodes, whose results lie in numbered slots."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...models.heads.loss.requests import Forward
from .callables import Callables
from .canonical import distinct, parts, within


@dataclass(frozen=True)
class Node:
    """One distinct forward.

    Attributes:
        request: The forward, in canonical form.
        through: What it goes through, by its canonical name.
        inputs: The slots of its positional arguments.
        slot: Where its result goes.
        grad: Whether any reader wants gradients.
        depth: How many forwards lie between it and fields, itself included.
        is_network: Whether it goes through a network, whose rows may be stacked.
        rows: The slot of one weight per row; None where all rows are run.
        seed: What seeds its draws; None where it draws nothing.
    """

    request: Forward
    through: str
    inputs: tuple[int, ...]
    slot: int
    grad: bool
    depth: int
    is_network: bool
    rows: int | None
    seed: int | None

    @property
    def reads(self) -> tuple[int, ...]:
        """Every slot that is read."""
        return self.inputs if self.rows is None else (*self.inputs, self.rows)


@dataclass(frozen=True)
class Copy:
    """A value for a reader that takes it otherwise: detached, or as a part of a tuple.

    Attributes:
        inputs: The slots that are read: of one value to detach, or of the parts of a tuple.
        slot: Where the value goes.
        depth: The depth of what is read.
        is_tuple: Whether it is a tuple.
    """

    inputs: tuple[int, ...]
    slot: int
    depth: int
    is_tuple: bool

    @property
    def reads(self) -> tuple[int, ...]:
        """Every slot that is read."""
        return self.inputs


class NodeGraph:
    """Numbers the results of a set of requests.

    Args:
        wanted: Requests in canonical form.
        callables: What they go through.
        seeds: What seeds the draws of each distinct request.

    Attributes:
        nodes: What is computed, inputs first.
        fields: The slot of every field that is read, by its full name.
    """

    def __init__(
        self, wanted: Iterable[Forward], callables: Callables, seeds: dict[Forward, int]
    ) -> None:
        requests = [inner for request in wanted for inner in within(request)]
        self._with_grad = {distinct(request) for request in requests if request.grad}
        self._callables, self._seeds = callables, seeds
        self._slots: dict[str | Forward, int] = {}
        self._depths: dict[int, int] = {}
        self.nodes: list[Node | Copy] = []
        self.fields: dict[str, int] = {}
        for request in requests:
            self.slot(request)

    @property
    def num_slots(self) -> int:
        """How many values there are."""
        return len(self._depths)

    def slot(self, item: str | Forward) -> int:
        """The slot of a field, or of the answer to a request."""
        if isinstance(item, Forward) and item.through is None and isinstance(item.data, str):
            item = item.data
        if item not in self._slots:
            self._slots[item] = self._add(item)
        return self._slots[item]

    def _add(self, item: str | Forward) -> int:
        if isinstance(item, str):
            self.fields[item] = slot = self._new_slot(0)
            return slot
        if item.through is None:
            return self._add_copy([self.slot(part) for part in parts(item)], is_tuple=True)
        if item.grad:
            return self._add_node(item)
        # Where nobody wants gradients the node itself is detached.
        node = self.slot(distinct(item))
        has_grad = distinct(item) in self._with_grad
        return self._add_copy([node], is_tuple=False) if has_grad else node

    def _add_node(self, request: Forward) -> int:
        inputs = tuple(self.slot(part) for part in parts(request))
        rows = None if request.rows is None else self.slot(request.rows)
        through = str(request.through)
        is_drawn = self._callables.draws(through)
        read = inputs if rows is None else (*inputs, rows)
        depth = 1 + max(self._depths[slot] for slot in read)
        node = Node(
            request,
            through,
            inputs,
            self._new_slot(depth),
            request in self._with_grad,
            depth,
            self._callables.is_network(through),
            rows,
            self._seeds.get(request, 0) if is_drawn else None,
        )
        self.nodes.append(node)
        return node.slot

    def _add_copy(self, inputs: list[int], *, is_tuple: bool) -> int:
        depth = max(self._depths[slot] for slot in inputs)
        copy = Copy(tuple(inputs), self._new_slot(depth), depth, is_tuple)
        self.nodes.append(copy)
        return copy.slot

    def _new_slot(self, depth: int) -> int:
        slot = len(self._depths)
        self._depths[slot] = depth
        return slot
