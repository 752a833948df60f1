"""Nothing but `sesemi_like.distributed` makes processes communicate."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch.distributed as dist

import sesemi_like

PACKAGE = Path(sesemi_like.__file__).parent
OF_TORCH = {
    name
    for name in (*dist.distributed_c10d.__all__, *vars(dist))
    if any(word in name for word in ("all_", "gather", "reduce", "broadcast", "scatter", "barrier"))
    and callable(getattr(dist, name, None))
    and name.islower()
}
OF_OTHERS_TOO = {"gather", "reduce", "broadcast", "scatter"}
"""What tensors and other objects have as well."""

OF_LIGHTNING = {"all_gather", "all_reduce", "reduce_boolean_decision", "sync_ddp", "barrier"}


def collectives_in(source: str) -> Iterator[str]:
    """Names the calls that communicate: `dist.all_reduce(x)`, `self.all_gather(x)`, `sync_dist`."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        owner, _, name = called.rpartition(".")
        communicates = owner.split(".")[-1] in ("dist", "distributed", "strategy")
        if name in OF_TORCH | OF_LIGHTNING and (communicates or name not in OF_OTHERS_TOO):
            yield called
        for keyword in node.keywords:
            is_off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
            if keyword.arg == "sync_dist" and not is_off:
                yield f"{called}(sync_dist)"


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "distributed.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_calls_no_collective(path: Path) -> None:
    assert list(collectives_in(path.read_text())) == []


def test_collectives_are_found() -> None:
    assert {"all_reduce", "all_gather_object", "broadcast", "barrier"} <= OF_TORCH
    calls = {
        "dist.all_reduce(x)": ["dist.all_reduce"],
        "from torch.distributed import all_gather\nall_gather(x, y)": ["all_gather"],
        "torch.distributed.barrier()": ["torch.distributed.barrier"],
        "self.all_gather(x)": ["self.all_gather"],
        "trainer.strategy.reduce(x)": ["trainer.strategy.reduce"],
        "self.log('a', x, sync_dist=True)": ["self.log(sync_dist)"],
        "self.log('a', x, sync_dist=False)": [],
        "all_sum(x)": [],
        "log.reduce(x) + x.gather(0, y)": [],
    }
    for source, expected in calls.items():
        assert list(collectives_in(source)) == expected, source
    assert list(collectives_in((PACKAGE / "distributed.py").read_text()))
