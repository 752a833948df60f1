"""Every learner file is in the table; class, group choice, help and structs follow from it."""

import dataclasses
import importlib
import pkgutil
from typing import Any

import hydra.utils
import pytest
from composing import composed
from omegaconf import OmegaConf

from sesemi_like.config import learners, structs
from sesemi_like.config.check import check
from sesemi_like.config.learners import LEARNERS, learner_entry
from sesemi_like.config.learners.base import LearnerEntry
from sesemi_like.config.schema import field_help
from sesemi_like.run.modes import MODES

MODULES = [module.name for module in pkgutil.iter_modules(learners.__path__)]
ENTRIES = list(LEARNERS.values())


def test_every_file_of_a_learner_is_in_the_table() -> None:
    files = {f"{learners.__name__}.{name}" for name in MODULES} - {f"{learners.__name__}.base"}
    assert {entry.struct.__module__ for entry in ENTRIES} == files


@pytest.mark.parametrize("target", LEARNERS)
def test_each_target_is_a_class_that_takes_hparams(target: Any) -> None:
    entry = LEARNERS[target]
    assert entry.struct().hparams is not None
    assert isinstance(hydra.utils.get_class(target), type)


@pytest.mark.parametrize("name", MODULES)
def test_the_module_of_structs_offers_each_struct(name: Any) -> None:
    module = importlib.import_module(f"{learners.__name__}.{name}")
    for struct in vars(module).values():
        is_struct = dataclasses.is_dataclass(struct) and struct.__module__ == module.__name__
        if is_struct and struct is not LearnerEntry:
            assert getattr(structs, struct.__name__) is struct
            assert all(field_help(struct, field.name) for field in dataclasses.fields(struct))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_each_can_be_chosen_and_is_checked(entry: Any) -> None:
    config = composed("sesemi_config", f"learner={entry.name}")
    assert OmegaConf.get_type(config, "learner") is entry.struct
    assert learner_entry(config) is entry
    OmegaConf.set_struct(config, False)
    config.learner = {"_target_": entry.struct._target_, "hparamz": 1}
    problems = {problem.key for problem in check(config, MODES)}
    assert "learner.hparamz" in problems


def test_a_learner_without_a_struct_keeps_its_settings_to_itself() -> None:
    config = composed("sesemi_config")
    OmegaConf.set_struct(config, False)
    config.learner = {"_target_": "somewhere.Learner", "hparams": {"anything": "???"}}
    assert learner_entry(config) is None
    keys = [problem.key for problem in check(config, MODES) if problem.key.startswith("learner")]
    assert keys == ["learner.hparams.anything"]
