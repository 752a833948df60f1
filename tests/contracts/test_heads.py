"""Every loss head, found by listing its folder, is exported, documented, configured and tested."""

import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import in_processes
from torch import nn

from sesemi_like.config.facts import DataFacts
from sesemi_like.config.store import builtin_configs
from sesemi_like.distributed import all_sum
from sesemi_like.learners.forwards import ForwardPlan
from sesemi_like.learners.reductions import REDUCTIONS, reduce_terms
from sesemi_like.learners.step_log import logged_names
from sesemi_like.models.heads import loss
from sesemi_like.models.heads.loss.base import Fields, Forward, LossHead, LossOutputs, Step
from sesemi_like.models.networks import Networks

ROOT = Path(__file__).resolve().parents[2]
MODULES = [name for _, name, is_package in pkgutil.iter_modules(loss.__path__) if not is_package]
HEADS = {
    name: head
    for module in MODULES
    for name, head in vars(importlib.import_module(f"{loss.__name__}.{module}")).items()
    if inspect.isclass(head)
    and issubclass(head, LossHead)
    and head.__module__ == f"{loss.__name__}.{module}"
    and head is not LossHead
}


def test_the_package_exports_the_heads_of_all_its_modules() -> None:
    exported = {name for name in loss.__all__ if inspect.isclass(getattr(loss, name))}
    exported = {name for name in exported if issubclass(getattr(loss, name), LossHead)}
    assert "SupervisedLossHead" in HEADS
    assert exported - {"LossHead"} == set(HEADS)


@pytest.mark.parametrize("name", HEADS)
def test_it_is_exported_and_names_its_source(name: str) -> None:
    assert getattr(loss, name) is HEADS[name]
    assert name in loss.__all__
    assert re.search(
        r"arXiv \d{4}\.\d{4,5}|\b(19|20)\d\d\b|torch", inspect.getdoc(HEADS[name]) or ""
    )


@pytest.mark.parametrize("name", HEADS)
def test_a_method_uses_it_and_a_page_explains_that_method(name: str) -> None:
    # The supervised loss is the key `supervised_loss` of every method.
    if name == "SupervisedLossHead":
        assert (ROOT / "docs/methods/supervised.md").is_file()
        return
    files = [p for p in (builtin_configs() / "method").glob("*.yaml") if name in p.read_text()]
    assert files, f"no file in builtin_configs/method uses {name}"
    assert any(name in page.read_text() for page in (ROOT / "docs/methods").glob("*.md"))


@pytest.mark.parametrize("name", HEADS)
def test_it_has_tests(name: str) -> None:
    tests = (ROOT / "tests/models/heads/loss").glob("test_*.py")
    assert any(re.search(rf"import .*\b{name}\b", test.read_text()) for test in tests)


@pytest.mark.parametrize(
    "path", sorted((builtin_configs() / "method").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_method_has_a_page(path: Path) -> None:
    pages = {page.stem for page in (ROOT / "docs/methods").glob("*.md")}
    # base's own method is rotation prediction on a loader of its own.
    assert {"sesemi": "rotation"}.get(path.stem, path.stem) in pages


class AnswersRows(nn.Module):
    """Answers rows (N, 4) as a classifier of three classes does."""

    out_features, num_classes = 4, 3

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"features": rows, "logits": self.head(rows)}


class SumsRows(LossHead):
    """Its buffer depends on the rows of all processes, or, against the contract, of one."""

    seen: torch.Tensor

    def __init__(self, is_right: bool) -> None:
        super().__init__()
        self.is_right = is_right
        self.register_buffer("seen", torch.zeros(3))

    def forwards(self, fields: Fields) -> dict[str, Forward]:
        return {"image": Forward("unlabeled.weak", "classifier")}

    def forward(self, outputs: Mapping[str, Any], step: Step) -> LossOutputs:
        total = outputs["image"]["logits"].detach().sum(dim=0)
        self.seen += all_sum(total) if self.is_right else total
        return LossOutputs(outputs["image"]["logits"].sum(dim=1))


def build_head(name: str) -> LossHead:
    """Builds a head by name, with all optional state."""
    if name in OTHERS:
        return OTHERS[name]()
    given = {"callable": nn.CrossEntropyLoss(), "class_weights": [0.2, 0.3, 0.5]}
    known = inspect.signature(HEADS[name]).parameters
    needed = {n: "unlabeled" for n, p in known.items() if p.default is p.empty and n not in given}
    return HEADS[name](**needed, **{n: value for n, value in given.items() if n in known})


def answers(head: LossHead, rows: int, networks: Networks) -> dict[str, Any]:
    """What the plan of a head answers for made-up fields: classes, or numbers."""
    requests = {"head": head.forwards({})}
    plan = ForwardPlan(requests, networks, heads={"head": head})
    dtype = next(networks.parameters()).dtype
    batch = {
        field: torch.randint(3, (rows,))
        if field.endswith(("target", "index"))
        else torch.randn(rows, 4, dtype=dtype)
        for field in plan.fields
    }
    return plan.run(batch)["head"]


def built(name: str, dtype: torch.dtype = torch.float32) -> tuple[LossHead, Networks]:
    torch.manual_seed(0)
    network, teacher = AnswersRows(), AnswersRows()
    by_name = {"classifier": network, "teacher": teacher, "projector": nn.Linear(4, 5)}
    networks = Networks(by_name, {"backbone": "classifier"})
    head = build_head(name)
    head.build(networks, DataFacts(largest_index={"train.unlabeled": 9, "train.supervised": 9}))
    return head.to(dtype), networks.to(dtype)


@pytest.mark.parametrize("rows", [6, 0])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", HEADS)
def test_its_loss_is_one_number_in_the_graph(name: str, reduction: str, rows: int) -> None:
    head, networks = built(name)
    given = answers(head, rows, networks)
    loss = reduce_terms(head(given, Step(3, 10, networks, {})), reduction).loss
    assert loss.shape == ()
    assert loss.isfinite()
    assert loss.requires_grad
    loss.backward()
    assert rows or loss.item() == 0


@pytest.mark.parametrize("name", HEADS)
def test_its_loss_is_as_exact_as_what_it_is_given(name: str) -> None:
    head, networks = built(name, torch.float64)
    outputs = head(answers(head, 6, networks), Step(3, 10, networks, {}))
    assert reduce_terms(outputs, "mean").loss.dtype == torch.float64


@pytest.mark.parametrize("name", HEADS)
def test_its_metrics_are_computed_on_written_steps_alone(name: str) -> None:
    head, networks = built(name)
    given = answers(head, 6, networks)
    losses = head(given, Step(3, 10, networks, {}))
    assert losses.metrics == {}
    before = {key: value.clone() for key, value in head.state_dict().items()}
    with torch.no_grad():
        metrics = head.metrics(given, losses)
    assert metrics, "a user sees how it fares"
    assert all(value.shape == () and value.isfinite() for value in metrics.values())
    assert all(torch.equal(value, before[key]) for key, value in head.state_dict().items())
    logged_names(reduce_terms(losses, "mean"), metrics)  # no name hides another


@pytest.mark.parametrize("name", HEADS)
def test_it_receives_the_passes_that_it_asks_for(name: str) -> None:
    head, _ = built(name)
    passes = head.passes()
    assert all(every >= 1 for every in passes.values())
    assert not passes or type(head).receive is not LossHead.receive
    assert head.needs and not isinstance(head.needs, str)


OTHERS = {
    "a right one": lambda: SumsRows(is_right=True),
    "a wrong one": lambda: SumsRows(is_right=False),
}


def write_buffers(rank: int, folder: Path) -> None:
    """Runs each head on rows that differ between processes, and writes its buffers to a file."""
    torch.distributed.init_process_group("gloo")
    buffers = {}
    for name in (*HEADS, *OTHERS):
        head, networks = built(name)
        torch.manual_seed(rank)
        for number in range(3):
            step = Step(number, 10, networks, {}, seed=rank)
            head(answers(head, 6, networks), step)
            head.after_step(step)
        buffers[name] = {n: value.tolist() for n, value in head.named_buffers()}
    (folder / f"{rank}.json").write_text(json.dumps(buffers))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def buffers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("buffers")
    in_processes(write_buffers, folder)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("name", [*HEADS, *OTHERS])
def test_its_buffers_are_equal_on_all_processes(buffers: list[dict[str, Any]], name: str) -> None:
    first, second = (written[name] for written in buffers)
    assert (first == second) == (name != "a wrong one")
