"""Every alignment, policy and term, found by listing its folder: exported, documented, tested,
finite for any prediction, and on two processes what it is on one."""

import importlib
import inspect
import json
import pkgutil
import re
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parts_playing import CLASSES, batches, build
from processes import in_processes
from torch import Tensor, nn

from sesemi_like.config.facts import DataFacts
from sesemi_like.distributed import all_sum, world_size
from sesemi_like.learners.forwards import ForwardPlan
from sesemi_like.learners.reductions import reduce_terms
from sesemi_like.models.heads.loss import PseudoLabelLossHead, Step, parts
from sesemi_like.models.heads.loss.parts import Alignment, Policy, Term, alignments, policies, terms
from sesemi_like.models.networks import Networks

ROOT = Path(__file__).resolve().parents[2]
KINDS: dict[str, Any] = {"alignments": Alignment, "policies": Policy, "terms": Term}
PACKAGES = {"alignments": alignments, "policies": policies, "terms": terms}
PARTS: dict[str, Any] = {
    name: part
    for kind, package in PACKAGES.items()
    for _, module, _ in pkgutil.iter_modules(package.__path__)
    for name, part in vars(importlib.import_module(f"{package.__name__}.{module}")).items()
    if inspect.isclass(part)
    and issubclass(part, KINDS[kind])
    and part is not KINDS[kind]
    and part.__module__ == f"{package.__name__}.{module}"
}
POLICIES, ALIGNMENTS = (
    [name for name, part in PARTS.items() if issubclass(part, kind)] for kind in (Policy, Alignment)
)
SETTINGS: dict[str, dict[str, Any]] = {
    "CurriculumPolicy": {"threshold": 0.5},
    "FixedPolicy": {"threshold": 0.5},
    "LossPolicy": {"warmup": 1, "interval": 1, "rho_min": 0.5},
    "RelativePolicy": {"threshold": 0.8},
    "FairnessTerm": {"momentum": 0.7},
    "GaussianPolicy": {"momentum": 0.7},
    "SelfAdaptivePolicy": {"momentum": 0.7},
}


def make(name: str) -> Any:
    """Makes a part whose state and weights move within a few batches."""
    if name == "ProductPolicy":
        return PARTS[name]([0.4, make("GaussianPolicy")])
    if name == "ComplementPolicy":
        return PARTS[name](make("SelfAdaptivePolicy"))
    return PARTS[name](**SETTINGS.get(name, {}))


@pytest.mark.parametrize("name", PARTS)
def test_it_is_exported_and_says_what_it_is_of(name: str) -> None:
    assert getattr(parts, name) is PARTS[name]
    assert name in parts.__all__
    assert re.search(r"arXiv \d{4}\.\d{4,5}|\b(19|20)\d\d\b", inspect.getdoc(PARTS[name]) or "")


@pytest.mark.parametrize("name", [*PARTS, "HardTargets", "SharpenedTargets"])
def test_the_page_of_parts_lists_it(name: str) -> None:
    page = (ROOT / "docs/methods/parts.md").read_text()
    assert re.search(rf"^\| `{name}` ", page, flags=re.MULTILINE)


@pytest.mark.parametrize("name", PARTS)
def test_it_has_tests(name: str) -> None:
    tests = (ROOT / "tests/models/heads/loss").rglob("test_*.py")
    assert any(re.search(rf"\b{name}\b", test.read_text()) for test in tests)


RUNS = st.tuples(
    st.lists(st.sampled_from([0, 1, 2, 9]), min_size=1, max_size=4),
    st.integers(0, 2**16),
    st.sampled_from([0.0, 0.1, 2.0, 30.0, 1e4]),
)
"""Rows of each batch, a seed, and how far logits are apart."""


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=40, deadline=None)
@given(run=RUNS)
def test_weights_are_finite_whatever_is_predicted(
    name: str, run: tuple[list[int], int, float]
) -> None:
    rows, seed, scale = run
    policy: Policy = build(make(name))
    for batch in batches(*rows, seed=seed, scale=scale):
        policy.update(batch)
        weights = policy(batch)
        policy.follow(batch, weights)
        policy.after_step(step(0))
        assert weights.shape == (len(batch.logits),)
        assert weights.dtype == batch.logits.dtype
        assert weights.isfinite().all()
        assert (weights >= 0).all()
        assert all(buffer.isfinite().all() for buffer in policy.buffers())
        assert all(value.shape == () for value in policy.metrics().values())


@pytest.mark.parametrize("name", ALIGNMENTS)
@settings(max_examples=40, deadline=None)
@given(run=RUNS)
def test_aligned_logits_are_finite_whatever_is_predicted(
    name: str, run: tuple[list[int], int, float]
) -> None:
    rows, seed, scale = run
    alignment: Alignment = build(make(name))
    for batch in batches(*rows, seed=seed, scale=scale):
        alignment.update(batch)
        for aligned in (alignment(batch), alignment.of_learner(batch.logits)):
            assert aligned.shape == batch.logits.shape
            assert aligned.dtype == batch.logits.dtype
            assert aligned.isfinite().all()
        assert all(buffer.isfinite().all() for buffer in alignment.buffers())


class Classifier(nn.Module):
    """A linear classifier of four numbers."""

    num_classes, out_features = CLASSES, 4

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, CLASSES)

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        return {"features": rows, "logits": self.head(rows)}


class Head(PseudoLabelLossHead):
    """Draws that depend on a row alone, not on where it lies in a batch."""

    def uniform(self, teacher: Any, generator: Any) -> Tensor:
        return (1000 * teacher["logits"].sum(dim=1)).frac().abs()


def made_head(name: str) -> tuple[PseudoLabelLossHead, Networks]:
    """A head with a part, in float64."""
    torch.manual_seed(0)
    networks = Networks({"classifier": Classifier(), "teacher": Classifier()})
    part = make(name)
    if name in ALIGNMENTS:
        head = Head(alignment=part, policy=0.4)
    elif name in POLICIES:
        head = Head(policy=part)
    else:
        head = Head(policy=0.4, terms={"term": part})
    facts = DataFacts(
        largest_index={"train.unlabeled": 49},
        rows={"train.unlabeled": 50},
        class_counts={"supervised": [8, 4, 2, 2]},
    )
    head.build(networks, facts)
    return head.double(), networks.double()


def step(number: int) -> Step:
    return Step(number, 4, Networks({}), {})


def fields_of_step(number: int, names: Any) -> dict[str, Tensor]:
    """Eight unlabeled rows and five labeled ones, the same however often it is called."""
    fields = {}
    for name in sorted(names):
        generator = torch.Generator().manual_seed(zlib.crc32(f"{name} {number}".encode()))
        rows = 8 if name.startswith("unlabeled") else 5
        if name.endswith("index"):
            fields[name] = torch.randperm(50, generator=generator)[:rows]
        elif name.endswith("target"):
            fields[name] = torch.randint(CLASSES, (rows,), generator=generator)
        else:
            fields[name] = 2 * torch.randn(rows, 4, generator=generator, dtype=torch.float64)
    return fields


def cut(name: str, rows: Tensor, rank: int) -> Tensor:
    """A process's rows of a field: the first has fewer."""
    first = 3 if name.startswith("unlabeled") else 2
    return rows[first:] if rank else rows[:first]


def trained(name: str, rank: int | None = None) -> dict[str, Any]:
    """Loss and gradient of some steps, averaged over processes as DDP does, and the buffers."""
    head, networks = made_head(name)
    plan = ForwardPlan({"head": head.forwards({})}, networks, heads={"head": head})
    parameters = [*networks.parameters(), *head.parameters()]
    found = []
    for number in range(4):
        fields = fields_of_step(number, plan.fields)
        if rank is not None:
            fields = {name: cut(name, rows, rank) for name, rows in fields.items()}
        loss = reduce_terms(head(plan.run(fields)["head"], step(number)), "mean").loss
        grads = torch.autograd.grad(loss, parameters, allow_unused=True)
        numbers = [loss.detach(), *(g for g in grads if g is not None)]
        found.append([(all_sum(n) / world_size()).flatten().tolist() for n in numbers])
        head.after_step(step(number))
    buffers = {n: b.double().flatten().tolist() for n, b in head.named_buffers()}
    return {"steps": found, "buffers": buffers}


def write(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo")
    found = {name: trained(name, rank) for name in PARTS}
    (folder / f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def of_two_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("parts")
    in_processes(write, folder)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_two_uneven_processes_have_loss_gradient_and_state_of_one(
    of_two_processes: list[dict[str, Any]], name: str
) -> None:
    expected = trained(name)
    assert any(abs(number) > 1e-3 for steps in expected["steps"] for number in steps[1])
    for found in (process[name] for process in of_two_processes):
        for own, one in zip(found["steps"], expected["steps"], strict=True):
            assert len(own) == len(one)
            for values, numbers in zip(own, one, strict=True):
                assert values == pytest.approx(numbers, rel=1e-9, abs=1e-12)
        for key, numbers in expected["buffers"].items():
            assert found["buffers"][key] == pytest.approx(numbers, rel=1e-9, nan_ok=True), key


@pytest.mark.parametrize("name", PARTS)
def test_its_state_goes_on_after_a_restart(name: str) -> None:
    first, networks = made_head(name)
    plan = ForwardPlan({"head": first.forwards({})}, networks, heads={"head": first})
    for number in range(2):
        first(plan.run(fields_of_step(number, plan.fields))["head"], step(number))
        first.after_step(step(number))
    second, _ = made_head(name)
    second.load_state_dict(first.state_dict())
    losses = []
    for head in (first, second):
        plan = ForwardPlan({"head": head.forwards({})}, networks, heads={"head": head})
        given = plan.run(fields_of_step(2, plan.fields))["head"]
        losses.append(reduce_terms(head(given, step(2)), "mean").loss)
    assert torch.equal(*losses)


@pytest.mark.parametrize("name", PARTS)
def test_evaluation_moves_no_state(name: str) -> None:
    head, networks = made_head(name)
    head.eval()
    before = {key: value.clone() for key, value in head.state_dict().items()}
    plan = ForwardPlan({"head": head.forwards({})}, networks, heads={"head": head})
    head(plan.run(fields_of_step(0, plan.fields))["head"], step(0))
    assert all(torch.equal(value, before[key]) for key, value in head.state_dict().items())


@pytest.mark.parametrize("name", [*POLICIES, *ALIGNMENTS])
def test_mixed_precision_changes_nothing(name: str) -> None:
    exact, mixed = build(make(name)), build(make(name))
    for batch in batches(9, 9, 4):
        for part in (exact, mixed):
            with torch.autocast("cpu", torch.bfloat16, enabled=part is mixed):
                part.update(batch)
                found = part(batch)
                if name in POLICIES:
                    part.follow(batch, found)
            if part is exact:
                expected = found
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected)
