"""In which order nodes are run, which of them share a call, and when a result is dropped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass

from .nodes import Copy, Node

Op = Node | Copy


@dataclass(frozen=True)
class Turn:
    """What is run at once.

    Attributes:
        nodes: The nodes of one call, or a single copy.
        dropped: The slots that nothing reads any more afterwards.
    """

    nodes: tuple[Op, ...]
    dropped: tuple[int, ...]


def turns_of(
    ops: Sequence[Op], key_of: Callable[[Op], Hashable], kept: Collection[int]
) -> list[Turn]:
    """Orders what is run, so that as many nodes as possible share a call.

    Args:
        ops: What is run, inputs first.
        key_of: What nodes that may share a call have in common; None for those that may not.
        kept: The slots that are read after the last turn.
    """
    groups = _in_turn(ops, [key_of(op) or ("alone", i) for i, op in enumerate(ops)])
    last_turn: dict[int, int] = {}
    for number, group in enumerate(groups):
        for op in group:
            last_turn.update(dict.fromkeys((*op.reads, op.slot), number))
    dropped: dict[int, list[int]] = defaultdict(list)
    for slot, number in last_turn.items():
        if slot not in kept:
            dropped[number].append(slot)
    return [Turn(tuple(group), tuple(dropped[n])) for n, group in enumerate(groups)]


def _in_turn(ops: Sequence[Op], keys: Sequence[Hashable]) -> list[list[Op]]:
    """Groups by key: those first that nothing more can join, then those of the least depth.

    No more groups result than from grouping by depth and key.
    """
    order = sorted(range(len(ops)), key=lambda i: (ops[i].depth, i))
    if len(set(keys)) == len(keys):
        return [[ops[i]] for i in order]
    unmade = {op.slot for op in ops}
    groups: list[list[Op]] = []
    while order:
        ready: dict[Hashable, list[int]] = defaultdict(list)
        awaited: set[Hashable] = set()
        for i in order:
            if unmade.isdisjoint(ops[i].reads):
                ready[keys[i]].append(i)
            else:
                awaited.add(keys[i])
        members = ready[next((key for key in ready if key not in awaited), next(iter(ready)))]
        groups.append([ops[i] for i in members])
        order = [i for i in order if i not in members]
        unmade -= {ops[i].slot for i in members}
    return groups
