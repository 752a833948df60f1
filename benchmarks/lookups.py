"""What looking results up costs in a step of many forwards, with networks that compute nothing.

    python benchmarks/lookups.py

The requests are those of a global workspace of four domains that are broadcast: 405 distinct
forwards, chained and fused. Goal: at most 0.3 ms a step beyond the calls themselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import Any

import torch
from common import print_machine
from torch import nn

from sesemi_like.devices import tune_process
from sesemi_like.learners import ForwardPlan
from sesemi_like.models.heads.loss import Forward
from sesemi_like.models.networks import Networks

DOMAINS = ("a", "b", "c", "d")
REPEATS = 500


class Nothing(nn.Module):
    """Answers its first input at once, by whichever name."""

    def answer(self, value: Any, *others: Any) -> Any:
        """Returns the first input."""
        return value

    encode = into = out_of = fuse = answer


def subsets(domains: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """All but the empty one."""
    return (s for size in range(1, len(domains) + 1) for s in combinations(domains, size))


def fused(latents: Mapping[str, Forward]) -> Forward:
    """The state of some domains."""
    return Forward(tuple(Forward(x, f"{d}.into") for d, x in latents.items()), "all.fuse")


def requests() -> dict[str, Forward]:
    """Every state of every group of domains, decoded everywhere and closed to a cycle."""
    wanted = []
    for group in (g for g in subsets(DOMAINS) if len(g) != 3):
        for states in subsets(group):
            latents = {d: Forward(f"{''.join(group)}.{d}", f"{d}.encode") for d in states}
            decoded = {d: Forward(fused(latents), f"{d}.out_of") for d in DOMAINS}
            wanted += [decoded[d] for d in group]
            outside = {d: y for d, y in decoded.items() if d not in states}
            wanted += [Forward(fused(outside), f"{d}.out_of") for d in states if outside]
    return {str(number): request for number, request in enumerate(wanted)}


def milliseconds(case: Callable[[], Any]) -> float:
    """The median of many repeats."""
    found = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        case()
        found.append((time.perf_counter() - start) * 1e3)
    return sorted(found)[REPEATS // 2]


def main() -> None:
    """Prints a table."""
    tune_process()
    networks = Networks({name: Nothing() for name in (*DOMAINS, "all")})
    asked = requests()
    plan = ForwardPlan({"broadcast": asked}, networks)
    value = torch.zeros(2, 3)
    batch = dict.fromkeys(plan.fields, value)
    call = Nothing().answer
    calls = range(plan.num_calls)
    print_machine(f"medians of {REPEATS} steps")
    print("| distinct forwards | calls alone, ms a step | plan | looking up | goal |")
    print("| --- | --- | --- | --- | --- |")
    alone = milliseconds(lambda: [call(value) for _ in calls])
    whole = milliseconds(lambda: plan.run(batch))
    print(f"| {plan.num_calls} | {alone:.3f} | {whole:.3f} | {whole - alone:.3f} | 0.3 |")


if __name__ == "__main__":
    main()
