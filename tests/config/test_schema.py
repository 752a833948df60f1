"""Every unknown key and wrong type of a plain config is found, and only those."""

from typing import Any

from omegaconf import OmegaConf

from sesemi_like.config.schema import field_help, schema_problems
from sesemi_like.config.structs import AppConfig, ClassifierConfig, RunConfig


def found(config: Any, struct: Any = AppConfig) -> Any:
    return {(p.key, p.value) for p in schema_problems(config, struct)}


def test_the_defaults_have_no_problem() -> None:
    for struct in (RunConfig, ClassifierConfig):
        content = OmegaConf.to_container(OmegaConf.structured(struct))
        assert found(content, struct) == set()


def test_all_problems_of_all_depths_at_once() -> None:
    config = {
        "run": {"sede": 1, "num_epochs": "ten", "dir": None},
        "data": {
            "train": {"a": {"batch_siez": 3, "dataset": {"name": "x", "anything": 1}}, "b": None},
            "val": 7,
        },
        "extra": 1,
    }
    assert found(config) == {
        ("run.sede", 1),
        ("run.num_epochs", "ten"),
        ("run.dir", None),
        ("data.train.a.batch_siez", 3),
        ("data.val", 7),
        ("extra", 1),
    }


def test_interpolations_and_missing_values_are_left_to_later() -> None:
    assert found({"run": {"seed": "${app:num_gpus}", "num_epochs": "???"}}) == set()


def test_messages_say_what_is_right() -> None:
    problems = {p.key: p.expected for p in schema_problems({"run": {"sede": 1}}, AppConfig)}
    assert "did you mean 'seed'" in problems["run.sede"]


def test_field_help_is_the_sentence_of_the_docstring() -> None:
    assert field_help(RunConfig, "num_nodes") == "Machines that take part."
    assert field_help(RunConfig, "gpus").startswith("A count, a list")
