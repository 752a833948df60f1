"""Every alignment, policy and term, found by listing its folder: exported, documented, tested,
finite for any prediction, and on two processes what it is on one."""

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parts_playing import batches, build
from parts_training import (
    ALIGNMENTS,
    PARTS,
    POLICIES,
    loss_of_step,
    make,
    make_head,
    step,
    train,
)
from processes import in_processes

from sesemi_like.config.store import builtin_configs
from sesemi_like.models.heads.loss import PseudoLabelLossHead, parts
from sesemi_like.models.heads.loss.parts import Alignment, Policy, Prediction
from sesemi_like.models.networks import Networks

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", PARTS)
def test_it_is_exported_and_says_what_it_is_of(name: str) -> None:
    assert getattr(parts, name) is PARTS[name]
    assert name in parts.__all__
    assert re.search(r"arXiv \d{4}\.\d{4,5}|\b(19|20)\d\d\b", inspect.getdoc(PARTS[name]) or "")


@pytest.mark.parametrize("name", [*PARTS, "HardTargets", "SharpenedTargets"])
def test_the_page_of_parts_lists_it(name: str) -> None:
    page = (ROOT / "docs/methods/parts.md").read_text()
    assert re.search(rf"^\| `{name}` ", page, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "path", sorted((builtin_configs() / "method").glob("*.yaml")), ids=lambda path: path.stem
)
def test_the_page_of_parts_names_the_methods_that_use_them(path: Path) -> None:
    page = (ROOT / "docs/methods/parts.md").read_text()
    for name in re.findall(r"_target_: [\w.]*\.parts\.(\w+)", path.read_text()):
        (row,) = re.findall(rf"^\| `{name}` .*", page, flags=re.MULTILINE)
        assert f"[{path.stem}]({path.stem}.md)" in row, name


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


def made_head(name: str) -> tuple[PseudoLabelLossHead, Networks]:
    """A head with a part, in float64."""
    if name in ALIGNMENTS:
        return make_head(alignment=make(name), policy=0.4)
    if name in POLICIES:
        return make_head(policy=make(name))
    return make_head(policy=0.4, terms={"term": make(name)})


def write(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo")
    found = {name: train(*made_head(name), rank) for name in PARTS}
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
    expected = train(*made_head(name))
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
    train(first, networks, steps=2)
    second, _ = made_head(name)
    second.load_state_dict(first.state_dict())
    losses = [loss_of_step(head, networks, 2) for head in (first, second)]
    assert torch.equal(*losses)


@pytest.mark.parametrize("name", PARTS)
def test_evaluation_moves_no_state(name: str) -> None:
    head, networks = made_head(name)
    head.eval()
    before = {key: value.clone() for key, value in head.state_dict().items()}
    loss_of_step(head, networks, 0)
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


@pytest.mark.parametrize("name", [*POLICIES, *ALIGNMENTS])
def test_no_step_waits_for_values(name: str) -> None:
    """As it would on a GPU where Python asks for one; tensors on `meta` have none to give."""
    part = build(make(name)).to("meta")
    (batch,) = batches(5)
    values = {key: value.to("meta") for key, value in vars(batch).items() if value is not None}
    batch = Prediction(**values)
    part.update(batch)
    found = part(batch)
    if isinstance(part, Policy):
        part.follow(batch, found)
        part.metrics()
    part.after_step(step(0))
    assert found.is_meta
