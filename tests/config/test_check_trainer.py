"""Settings of the Trainer that cannot work are reported by key before torch is imported."""

import copy
from typing import Any

import pytest
import yaml
from composing import composed

from sesemi_like.config.check import check
from sesemi_like.run.modes import MODES

SCHEDULER = "pytorch_lightning.callbacks.GradientAccumulationScheduler"


BASE = composed("quickstart")


def problems_of(section: Any, **run: Any) -> Any:
    config = copy.deepcopy(BASE)
    config.trainer = section
    for key, value in run.items():
        config.run[key] = value
    return check(config, MODES)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("accumulate_grad_batches=0", "at least 1"),
        ("max_steps=0", "at least 1, or -1"),
        ("max_epochs=true", "at least 1, or -1"),
        ("precision=16-true", "cannot be trained in here"),
        ("precision=64-true", "cannot be trained in here"),
        ("limit_train_batches=0", "at least 1, or a share"),
        ("limit_train_batches=1.5", "at least 1, or a share"),
        ("val_check_interval=0", "at least 1, or a share"),
        ("check_val_every_n_epoch=0", "at least 1"),
        ("overfit_batches=-1", "or 0"),
        ("max_time=5", "days:hours:minutes:seconds"),
        ("gradient_clip_val=-1", "0 or more"),
        ("fast_dev_run=-2", "true or a count"),
        ("devices=0", "at least 1"),
        ("devices=[]", "at least 1"),
        ("num_nodes=0", "at least 1"),
        ("callbacks=5", "_target_"),
        ("callbacks=[null]", "_target_"),
        ("callbacks=[{monitor: val/top1}]", "_target_"),
    ],
)
def test_it_is_reported(setting: str, expected: str) -> None:
    key, _, value = setting.partition("=")
    (problem,) = problems_of({key: yaml.safe_load(value)})
    assert problem.key == f"trainer.{key}"
    assert expected in problem.expected


@pytest.mark.parametrize(
    "setting",
    [
        "accumulate_grad_batches=1", "precision=bf16-mixed", "precision=32", "precision=16",
        "limit_val_batches=0", "limit_train_batches=1.0", "overfit_batches=0.0", "max_epochs=-1",
        "val_check_interval=0.5", "val_check_interval=7", "check_val_every_n_epoch=null",
        "max_time=00:00:00:10", "max_time={minutes: 5}", "fast_dev_run=true", "gradient_clip_val=1",
        "log_every_n_steps=0", "num_sanity_val_steps=-1", "max_steps=${run.num_iterations}",
        "log_every_n_steps=${app:max_iterations}",
    ],
)  # fmt: skip
def test_what_lightning_takes_is_left_alone(setting: str) -> None:
    key, _, value = setting.partition("=")
    assert problems_of({key: yaml.safe_load(value)}) == []


def test_a_section_of_another_kind_is_reported() -> None:
    (problem,) = problems_of([1])
    assert problem.key == "trainer"


@pytest.mark.parametrize("key", ["num_iterations", "num_epochs"])
def test_epochs_of_changing_length_need_a_number_of_steps(key: str) -> None:
    changing = {"_target_": SCHEDULER, "scheduling": {0: 1, 2: 2}}
    length = {"num_iterations": None, "num_epochs": None, key: 4}
    problems = problems_of({"callbacks": [changing]}, **length)
    assert [p.key for p in problems] == ([] if key == "num_iterations" else ["trainer.callbacks.0"])
