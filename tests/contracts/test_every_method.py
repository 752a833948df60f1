"""Every method, found by listing its folder: composes with all data and backbones, trains, resumes.

With two processes, of which one has more rows, it has the gradient and the state of one.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import composed
from omegaconf import DictConfig, OmegaConf
from processes import in_processes
from torch import Tensor

from sesemi_like.config.check import check, learner_problems, missing_problems
from sesemi_like.config.facts import DataFacts
from sesemi_like.config.resolvers import AppAttributes, app_attributes
from sesemi_like.config.store import builtin_configs
from sesemi_like.distributed import all_sum, world_size
from sesemi_like.learners import Classifier
from sesemi_like.learners.reductions import reduce_terms
from sesemi_like.models.heads.loss import Step
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES


def files(group: str) -> list[str]:
    """The names of a group's files."""
    return sorted(path.stem for path in (builtin_configs() / group).glob("*.yaml"))


# The method of `base` alone: it reads a loader of its own.
METHODS = [name for name in files("method") if name != "sesemi"]
MODEL = "learner.hparams.model"

# Where the files of these groups lie in a config, and what one leaves to whoever chooses it.
PLACES = {"data": "data", "backbone": f"{MODEL}.backbone"}
LEFT_OPEN = {
    ("backbone", "timm"): [f"{MODEL}.backbone.name=resnet10t"],
    ("backbone", "mlp"): [f"{MODEL}.backbone.in_features=64"],
}
CHOICES = [(group, name) for group in PLACES for name in files(group)]


@pytest.fixture(scope="module")
def chosen() -> dict[tuple[str, str], DictConfig]:
    """`cifar10` with each file of the groups."""
    return {
        (group, name): composed("cifar10", f"{group}={name}", *LEFT_OPEN.get((group, name), []))
        for group, name in CHOICES
    }


@pytest.mark.parametrize(("group", "name"), CHOICES)
def test_data_and_backbones_stay_in_their_places(
    group: str, name: str, chosen: dict[tuple[str, str], DictConfig]
) -> None:
    without = composed("cifar10")
    put(without, group, chosen[group, name])
    assert without == chosen[group, name]


def put(config: DictConfig, group: str, source: DictConfig) -> None:
    """Makes the choice of a group that another config has made."""
    content = OmegaConf.select(source, PLACES[group])
    OmegaConf.update(config, PLACES[group], content, merge=False)


# So it need not be composed again with each of them.
@pytest.mark.parametrize("method", METHODS)
def test_it_composes_with_all_data_and_all_backbones(
    method: str, chosen: dict[tuple[str, str], DictConfig]
) -> None:
    config = composed("cifar10", f"method={method}")
    assert check(config, MODES) == []
    for (group, name), source in chosen.items():
        put(config, group, source)
        # Of all checks, those that see a method beside other choices.
        problems = [*missing_problems(config), *learner_problems(config, MODES["FIT"])]
        assert problems == [], (group, name)


# Four steps of a few rows, with a checkpoint after two of them.
SHORT = [
    "run.gpus=0", "run.num_iterations=4", "data.val=null", "data.test=null",
    "data.train.unlabeled.batch_size_per_gpu=24", "data.train.supervised.batch_size_per_gpu=8",
    f"{MODEL}.backbone.widths=[4,8]", "++trainer.log_every_n_steps=1",
    "trainer.callbacks=[{_target_: pytorch_lightning.callbacks.ModelCheckpoint,"
    " every_n_train_steps: 2, save_top_k: -1, save_on_train_epoch_end: false}]",
]  # fmt: skip


def trained(folder: Path, method: str, *overrides: str) -> dict[int, Path]:
    """Runs the method for four steps; returns its checkpoints by step."""
    config = composed("quickstart", f"method={method}", *SHORT, f"run.dir={folder}", *overrides)
    run(config, check(config, MODES))
    saved = folder.rglob("*step=*.ckpt")
    return {int(path.stem.partition("step=")[2]): path for path in saved}


@pytest.mark.parametrize("method", METHODS)
def test_it_trains_and_a_resumed_run_ends_with_the_same_weights(
    method: str, tmp_path: Path
) -> None:
    whole = trained(tmp_path / "whole", method)
    assert set(whole) == {2, 4}
    resuming = f"run.resume_from_checkpoint='{whole[2]}'"
    resumed = trained(tmp_path / "resumed", method, resuming)
    first, last, found = (
        torch.load(path, weights_only=True)["state_dict"]
        for path in (whole[2], whole[4], resumed[4])
    )
    assert found.keys() == last.keys()
    for name, value in found.items():
        assert torch.equal(value, last[name]), name
    assert any(not torch.equal(value, last[name]) for name, value in first.items())
    assert all(value.isfinite().all() for value in found.values() if value.is_floating_point())


ROWS = {"unlabeled": 7, "supervised": 5}
CUTS = {"unlabeled": 5, "supervised": 2}
"""How many rows of each loader fall on the first of two processes."""
VIEWS = {"image", "weak", "weak_2", "medium", "strong", "strong_2", "index", "target"}
PRETEXT = {"rotation.image", "rotation.target", "jigsaw.image", "jigsaw.target"}
FIELDS = {"unlabeled": VIEWS | PRETEXT, "supervised": {"image", "strong", "index", "target"}}
FACTS = DataFacts(
    rows={"train.unlabeled": 40, "train.supervised": 20},
    largest_index={"train.unlabeled": 39, "train.supervised": 39},
    class_counts={"supervised": [2] * 10, "unlabeled": [0] * 10},
    num_classes=10,
    steps_per_epoch=5,
)
STEPS = 3


def learner_of(method: str) -> Classifier:
    """A small classifier without BatchNorm, in double precision, that is sure of many rows."""
    backbone = f"{MODEL}.backbone._target_=processes.NetworkWithoutBatchNorm"
    small = (backbone, f"{MODEL}.backbone.widths=[4,8]", f"{MODEL}.backbone.drop_rate=0")
    torch.manual_seed(0)
    attributes = AppAttributes(iterations_per_epoch=5, max_iterations=20, num_gpus=0, num_nodes=1)
    with app_attributes(attributes):
        config = composed("quickstart", f"method={method}", *small)
        hparams: Any = OmegaConf.to_container(config.learner.hparams, resolve=True)
    learner = Classifier(hparams, FACTS).double()
    for name in learner.networks.names:
        if hasattr(network := learner.networks[name], "head"):
            network.head.weight.data.mul_(3)  # more, and every row is sure: losses of zero
    learner.make_plan(FIELDS)
    return learner


def batch_of(step: int, fields: Iterator[str] | list[str]) -> dict[str, Tensor]:
    """Made-up rows of each field."""
    made = {}
    for name in fields:
        rows = ROWS[name.partition(".")[0]]
        generator = torch.Generator().manual_seed(zlib.crc32(f"{name} {step}".encode()))
        if name.endswith("index"):
            made[name] = torch.randperm(20, generator=generator)[:rows]
        elif name.endswith("target"):
            made[name] = torch.randint(4, (rows,), generator=generator)
        else:
            made[name] = torch.randn(rows, 1, 8, 8, generator=generator, dtype=torch.float64)
    return made


def own_rows(batch: dict[str, Tensor], rank: int | None) -> dict[str, Tensor]:
    """The rows of a process; None is a single one, which has all."""
    if rank is None:
        return batch
    cuts = {name: CUTS[name.partition(".")[0]] for name in batch}
    return {n: rows[: cuts[n]] if rank == 0 else rows[cuts[n] :] for n, rows in batch.items()}


def learned(method: str, rank: int | None = None, seed: int = 0) -> dict[str, Tensor]:
    """Gradients, averaged over processes as DDP does, and buffers, after several steps of state."""
    learner = learner_of(method)
    assert learner.plan is not None
    for index in range(STEPS):
        learner.zero_grad()
        batch = own_rows(batch_of(index, learner.plan.fields), rank)
        outputs = learner.plan.run(batch, seed)
        step = Step(index, 20, learner.networks, batch, seed=seed)
        total = torch.zeros((), dtype=torch.float64)
        for name, term in learner.terms.items():
            total = total + reduce_terms(term.head(outputs[name], step), term.reduction).loss
        total.backward()
        for term in learner.terms.values():
            term.head.after_step(step)
    named = learner.named_parameters()
    found = {f"gradient of {n}": p.grad for n, p in named if p.grad is not None}
    found = {name: all_sum(value) / world_size() for name, value in found.items()}
    return {**found, **{n: value.clone() for n, value in learner.loss_terms.named_buffers()}}


@pytest.mark.parametrize("method", METHODS)
def test_no_step_waits_for_values(method: str) -> None:
    """As it would on a GPU where Python asks for one; tensors on `meta` have none to give."""
    learner = learner_of(method).to("meta")
    assert learner.plan is not None
    batch = {n: rows.to("meta") for n, rows in batch_of(0, learner.plan.fields).items()}
    outputs = learner.plan.run(batch)
    step = Step(9, 20, learner.networks, batch, epoch=2)
    for name, term in learner.terms.items():
        losses = term.head(outputs[name], step)
        loss = reduce_terms(losses, term.reduction).loss
        loss.backward(retain_graph=True)
        metrics = term.head.metrics(outputs[name], losses)
        term.head.after_step(step)
        assert all(value.is_meta for value in (loss, *metrics.values()))


def write(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo")
    torch.save({method: learned(method, rank) for method in METHODS}, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def of_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    folder = tmp_path_factory.mktemp("methods")
    in_processes(write, folder)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.allclose(value, second[name], rtol=1e-9, atol=1e-12) for name, value in first.items()
    )


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_two_uneven_processes_learn_what_one_does(
    method: str, of_processes: list[dict[str, dict[str, Tensor]]]
) -> None:
    first, second = (found[method] for found in of_processes)
    expected = learned(method)
    assert any(name.startswith("gradient") and value.any() for name, value in expected.items())
    buffers = {name for name in expected if not name.startswith("gradient")}
    assert all(torch.equal(first[name], second[name]) for name in buffers), "buffers differ"
    if not same(expected, learned(method, seed=1)):
        pytest.skip("each process draws for its own rows")
    for found in (first, second):
        assert found.keys() == expected.keys()
        for name, value in found.items():
            torch.testing.assert_close(value, expected[name], rtol=1e-8, atol=1e-11, msg=name)
