"""The checks that need no torch: each finds its mistake, and a sound config has none."""

import re
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from sesemi_like.config.check import check, parse_gpus
from sesemi_like.config.structs import AppConfig, ClassifierConfig
from sesemi_like.run.modes import MODES

TARGET = {"_target_": "x"}
MODEL = {"backbone": TARGET, "supervised_loss": {"callable": TARGET}}
SOUND = {
    "run": {"num_epochs": 1},
    "data": {"train": {"a": {"dataset": {"name": "digits"}}}},
    "learner": {"hparams": {"num_classes": 2, "optimizer": TARGET, "model": MODEL}},
}


def composed(*changes: Any, base: Any = SOUND) -> DictConfig:
    bare = OmegaConf.structured(AppConfig(learner=ClassifierConfig()))
    config = OmegaConf.merge(bare, base)
    for change in changes:
        key, _, value = change.partition("=")
        content = OmegaConf.create(f"value: {value}").value
        for name in reversed(key.split(".")):
            content = {name: content}
        config = OmegaConf.merge(config, content)
    assert isinstance(config, DictConfig)
    return config


def test_a_sound_config_has_no_problem() -> None:
    assert check(composed(), MODES) == []


def test_every_missing_value_is_named_with_what_it_is_for() -> None:
    problems = {p.key: p.expected for p in check(composed(base={}), MODES)}
    assert "Classes C of the logits" in problems["learner.hparams.num_classes"]
    assert set(problems) == {
        "learner.hparams.num_classes",
        "learner.hparams.model.backbone",
        "learner.hparams.model.supervised_loss.callable",
        "learner.hparams.optimizer",
        "run.num_epochs",
        "data.train",
    }


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("run.num_iterations=3", "run.num_epochs"),
        ("data.train.b={dataset: {root: x}}", "data.train.b.dataset.name"),
        ("data.train.a.dataset.num_labels=many", "data.train.a.dataset.num_labels"),
        ("data.train.a.dataset=null", None),
        ("data.image_size=0", "data.image_size"),
        ("data.evaluation.a={dataset: {name: digits}}", "data.evaluation.a"),
        ("data.evaluation.val={dataset: {name: digits}}", "data.evaluation.val"),
        ("data.evaluation.b={dataset: {root: x}}", "data.evaluation.b.dataset.name"),
        ("data.evaluation.b={dataset: {name: digits}}", None),
        ("data.predict={dataset: {name: digits}, repeat: 0}", "data.predict.repeat"),
        ("data.image_size=32", None),
        ("data.train.a=null", None),
        ("learner.hparams.model.backbone=null", "learner.hparams.model.backbone"),
        ("run.num_epochs=0", "run.num_epochs"),
        ("run.accelerator=tpu", "run.accelerator"),
        ("run.gpus=two", "run.gpus"),
        ("run.gpus=-2", "run.gpus"),
        ("run.cache_limit=much", "run.cache_limit"),
        ("run.cache_limit=-1", "run.cache_limit"),
        ("run.id=a/b", "run.id"),
        ("run.resume_from_checkpoint=nowhere.ckpt", "run.resume_from_checkpoint"),
        ("run.mode=TEST", "data.test"),
        ("data.train.a.batch_size=3", None),
        (
            "data.train.b={dataset: {name: x}, batch_size: 3, batch_size_per_gpu: 4}",
            "data.train.b.batch_size",
        ),
        ("data.train.a.num_workers=-1", "data.train.a.num_workers"),
        ("data.train.a.multiprocessing_context=thread", "data.train.a.multiprocessing_context"),
        (
            "data.train.a={pin_memory: false, pin_memory_device: cuda}",
            "data.train.a.pin_memory_device",
        ),
        ("data.train.a.dataset.label_fraction=1.5", "data.train.a.dataset.label_fraction"),
        ("data.train.a.dataset.part=labeled", "data.train.a.dataset.part"),
        ("data.num_labels=3", None),
        ("learner.hparams.model.forward=both", "learner.hparams.model.forward"),
        ("learner.hparams.model.rows=never", "learner.hparams.model.rows"),
        ("learner.hparams.optimizer=null", "learner.hparams.optimizer"),
        ("learner.hparams.lr_scheduler=null", None),
        ("learner.hparams.lr_scheduler={scheduler: {_target_: x}}", None),
        (
            "learner.hparams.lr_scheduler={scheduler: null}",
            "learner.hparams.lr_scheduler.scheduler",
        ),
        ("learner.hparams.model.ema={decay: 1.5}", "learner.hparams.model.ema.decay"),
        (
            "learner.hparams.model.supervised_loss.reduction=max",
            "learner.hparams.model.supervised_loss.reduction",
        ),
    ],
)
def test_each_mistake_is_found_at_its_key(override: str, key: str | None) -> None:
    keys = [problem.key for problem in check(composed(override), MODES)]
    assert keys == ([] if key is None else [key])


@pytest.mark.parametrize(("mode", "key"), [("VALIDATE", "data.val"), ("TEST", "data.test")])
def test_what_is_to_be_measured_is_there(mode: str, key: str) -> None:
    off = composed(f"run.mode={mode}", f"{key}={{batch_size: 3, dataset: null}}")
    assert [problem.key for problem in check(off, MODES)] == [key]
    assert check(composed(f"run.mode={mode}", f"{key}={{dataset: {{name: digits}}}}"), MODES) == []


def test_one_of_two_lengths_can_be_taken_back_as_the_message_says() -> None:
    length = "run.num_iterations=200"
    (problem,) = check(composed(length), MODES)
    (way_out,) = re.findall(r"as in (\S+=null)", problem.expected)
    assert check(composed(length, way_out), MODES) == []


def test_a_mode_that_does_not_exist_is_reported_with_those_that_do_and_what_else_is_wrong() -> None:
    problems = check(composed("run.mode=FITT", "run.num_epochs=0", "data.train=null"), MODES)
    assert [problem.key for problem in problems] == ["run.mode", "run.num_epochs"]
    assert problems[0].expected == f"must be one of {', '.join(MODES)}"


def test_all_mistakes_are_found_at_once() -> None:
    mistakes = (
        "run.num_epochs=0", "run.gpus=two", "data.num_labels=1", "data.labels_per_class=1"
    )  # fmt: skip
    problems = check(composed(*mistakes), MODES)
    assert [p.key for p in problems] == ["run.num_epochs", "run.gpus", "data.labels_per_class"]


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        (None, 0),
        (0, 0),
        (-1, -1),
        (2, 2),
        ("0,2", [0, 2]),
        ([1], [1]),
        ("-1", -1),
        ("2", 2),
        ([], 0),
    ],
)
def test_gpus_are_counts_or_indices(gpus: Any, expected: int | list[int]) -> None:
    assert parse_gpus(gpus) == expected


@pytest.mark.parametrize("gpus", ["a", "0,x", -2, [0, 0], [-1], True, 1.5, ""])
def test_other_gpus_are_refused(gpus: str | list[int] | float) -> None:
    with pytest.raises(ValueError, match="needs a count"):
        parse_gpus(gpus)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a\nb", "x" * 256, "é" * 128])
def test_a_run_id_that_cannot_name_a_folder_is_reported(name: Any) -> None:
    config = composed()
    config.run.id = name
    assert [p.key for p in check(config, MODES)] == ["run.id"]


@pytest.mark.parametrize("name", ["a b", "[red]", "...", "x" * 255, "é" * 127])
def test_a_run_id_that_can(name: Any, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    config = composed()
    config.run.id = name
    assert check(config, MODES) == []
