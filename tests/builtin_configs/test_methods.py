"""The groups method, optimizer and lr_scheduler: every file composes, builds, and replaces."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import composed
from omegaconf import DictConfig, OmegaConf

from sesemi_like.config.instantiate import instantiate
from sesemi_like.config.resolvers import AppAttributes, app_attributes
from sesemi_like.config.store import builtin_configs
from sesemi_like.learners.forwards import fields_of
from sesemi_like.learners.forwards.canonical import within
from sesemi_like.models.heads.loss import LossHead

GROUPS = ("method", "quickstart_method", "optimizer", "lr_scheduler")
FILES = {group: sorted((builtin_configs() / group).glob("*.yaml")) for group in GROUPS}
OWN_FILES = [file for group in GROUPS for file in FILES[group]]
METHODS, _, OPTIMIZERS, LR_SCHEDULERS = ([f.stem for f in FILES[group]] for group in GROUPS)
# The method of `base` alone: it reads a loader of its own and has no EMA.
METHODS.remove("sesemi")
VIEWS = ("weak", "weak_2", "medium", "strong", "strong_2", "index")
PRETEXT = ("rotation.image", "rotation.target", "jigsaw.image", "jigsaw.target")
OFFERED = {f"unlabeled.{field}" for field in (*VIEWS, *PRETEXT)}
OFFERED |= {f"supervised.{field}" for field in ("image", "strong", "target", "index")}
NETWORKS = {None, "classifier", "backbone", "teacher"}
FUNCTIONS = {"interpolate_logits"}  # of the classifier
HEADS = "learner.hparams.model.regularization_loss_heads"
# A loss weight's final value and ramp-up steps: in the code of Laine & Aila and of Tarvainen &
# Valpola, with a supervised loss divided by the labeled rows as ours is; and in the quickstart.
PAPERS = {"pi_model": ("consistency", 100, 40_000), "mean_teacher": ("mean_teacher", 100, 40_000)}
QUICKSTART = {"pi_model": ("consistency", 100, 180), "mean_teacher": ("mean_teacher", 30, 180)}


@pytest.fixture
def a_run() -> Iterator[None]:
    attributes = AppAttributes(iterations_per_epoch=5, max_iterations=100, num_gpus=0, num_nodes=1)
    with app_attributes(attributes):
        yield


def model(*overrides: str) -> Any:
    return composed("sesemi_config", *overrides).learner.hparams.model


@pytest.mark.parametrize("method", METHODS)
def test_heads_and_schedules_build_and_request_views_that_data_configs_define(
    method: str, a_run: None
) -> None:
    heads = model(f"method={method}").regularization_loss_heads or {}
    for name, config in heads.items():
        head = instantiate(config.head, key=f"{HEADS}.{name}.head")
        assert isinstance(head, LossHead)
        requests = head.forwards({"unlabeled": OFFERED}).values()
        assert {field for request in requests for field in fields_of(request)} <= OFFERED
        throughs = {r.through for request in requests for r in within(request)}
        own = {t for t in throughs if str(t).startswith(("self.", "."))}
        assert throughs - own - FUNCTIONS <= NETWORKS | set(
            model(f"method={method}").networks or {}
        )
        schedule = instantiate(config.scheduler, key=f"{HEADS}.{name}.scheduler")
        if schedule is not None:
            assert 0 <= schedule(0) < schedule(PAPERS[method][2] if method in PAPERS else 99)


@pytest.mark.parametrize("method", METHODS)
def test_labeled_rows_are_read_by_the_field_that_is_learned_from(method: str, a_run: None) -> None:
    own = model(f"method={method}", "learner.hparams.model.input_field=features")
    read = {f"supervised.{view}" for view in own.supervised_loss.views or ()}
    for name, config in (own.regularization_loss_heads or {}).items():
        head: Any = instantiate(config.head, key=f"{HEADS}.{name}.head")
        requests = head.forwards({"unlabeled": OFFERED}).values()
        read |= {field for request in requests for field in fields_of(request)}
    assert "supervised.image" not in read


def weight_of(config: DictConfig, name: str, max_iterations: int) -> Callable[[int], float]:
    """The weight of a head at each step of a run."""
    head = config.learner.hparams.model.regularization_loss_heads[name]
    run = AppAttributes(
        iterations_per_epoch=10, max_iterations=max_iterations, num_gpus=0, num_nodes=1
    )
    with app_attributes(run):
        schedule = instantiate(head.scheduler, key="scheduler")
    return lambda step: head.scale_factor * schedule(step)


@pytest.mark.parametrize("method", PAPERS)
def test_methods_have_the_weight_of_their_paper_and_its_ramp(method: str) -> None:
    name, final, duration = PAPERS[method]
    weight = weight_of(composed("cifar10", f"method={method}"), name, 2**20)
    assert weight(duration - 1) < weight(duration) == final
    assert weight(duration // 2) == pytest.approx(final * math.exp(-5 / 4))


@pytest.mark.parametrize("method", PAPERS)
def test_consistency_does_not_outweigh_the_labels_in_a_short_run(method: str) -> None:
    chosen = ("data=image_folder", f"method={method}")
    weight = weight_of(composed("sesemi_config", *chosen), PAPERS[method][0], 1000)
    assert weight(999) < 1


@pytest.mark.parametrize("method", QUICKSTART)
def test_weights_tuned_on_digits_are_used_by_the_quickstart_alone(method: str) -> None:
    name, final, duration = QUICKSTART[method]
    weight = weight_of(composed("quickstart", f"method={method}"), name, 600)
    assert weight(duration - 1) < weight(duration) == weight(599) == final


@pytest.mark.parametrize("method", QUICKSTART)
def test_configs_that_start_from_the_quickstart_follow_the_method_too(
    method: str, tmp_path: Path
) -> None:
    text = f"defaults: [quickstart, {{override method: {method}}}]"
    (tmp_path / "own.yaml").write_text(text)
    expected = composed("quickstart", f"method={method}").learner
    assert composed("own", folder=tmp_path).learner == expected


@pytest.mark.parametrize("method", METHODS)
def test_all_methods_have_the_same_ema(method: str) -> None:
    assert model(f"method={method}").ema == model("method=supervised").ema


@pytest.mark.parametrize("method", METHODS)
def test_a_method_replaces_the_heads_of_a_previous_config(method: str, tmp_path: Path) -> None:
    left_over = OmegaConf.create()
    OmegaConf.update(left_over, f"{HEADS}.left_over.scale_factor", 2)
    OmegaConf.save(left_over, tmp_path / "left_over.yaml")
    defaults = "defaults: [app_config, learner: classifier, left_over, method: {}]"
    (tmp_path / "with_method.yaml").write_text(defaults.format(method))
    (tmp_path / "without.yaml").write_text(defaults.format("null"))
    expected = model(f"method={method}").regularization_loss_heads

    def heads(name: str) -> Any:
        return OmegaConf.select(composed(name, folder=tmp_path), HEADS)

    assert list(heads("without")) == ["left_over"]
    assert heads("with_method") == expected


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_build(optimizer: str) -> None:
    config = composed("sesemi_config", f"optimizer={optimizer}")
    parameters = [torch.nn.Parameter(torch.zeros(2))]
    built = instantiate(config.learner.hparams.optimizer, parameters, key="optimizer")
    assert isinstance(built, torch.optim.Optimizer)
    assert built.param_groups[0]["params"] == parameters


@pytest.mark.parametrize("name", LR_SCHEDULERS)
def test_learning_rate_schedules_build(name: str, a_run: None) -> None:
    config = composed("sesemi_config", "optimizer=sgd", f"lr_scheduler={name}")
    schedule = config.learner.hparams.lr_scheduler
    if name == "constant":
        assert schedule is None
        return
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=0.1)
    built = instantiate(schedule.scheduler, optimizer, key="scheduler")
    assert schedule.interval == "step"
    assert built.max_iters == 100
    warmup = schedule.scheduler.warmup_epochs
    assert built.get_last_lr() == [schedule.scheduler.warmup_lr if warmup else 0.1]


@pytest.mark.parametrize("path", OWN_FILES, ids=lambda path: path.stem)
def test_every_file_opens_with_its_command_and_what_to_expect(path: Path) -> None:
    text = path.read_text()
    comments = "".join(line for line in text.splitlines(True) if line.startswith("#"))
    assert f"{path.parent.stem.removeprefix('quickstart_')}={path.stem}" in comments
    assert "Expect" in comments
