"""Failures of instantiate name the key, the target, the real cause and the nearest names."""

import collections
import fractions
from typing import Any

import pytest
from omegaconf import OmegaConf

from sesemi_like.config.instantiate import instantiate
from sesemi_like.errors import ConfigError, ConfigProblem


def refuse(**_: object) -> None:
    raise ConfigError([ConfigProblem("inner.key", 3, "must be 4")])


def problem_of(config: Any, key: str = "section") -> Any:
    with pytest.raises(ConfigError) as caught:
        instantiate(OmegaConf.create(config), key=key)
    assert len(caught.value.problems) == 1
    return caught.value.problems[0]


def test_builds_nested_objects_with_plain_containers() -> None:
    config = {"_target_": "collections.OrderedDict", "items": {"a": [1, 2]}}
    built = instantiate(OmegaConf.create(config), key="k", b={"_target_": "fractions.Fraction"})
    assert type(built) is collections.OrderedDict
    assert type(built["items"]) is dict
    assert type(built["items"]["a"]) is list
    assert built["b"] == fractions.Fraction(0)


def test_lists_of_targets_are_built_and_objects_returned_as_they_are() -> None:
    built = instantiate([{"_target_": "fractions.Fraction", "numerator": 3}], key="k")
    assert built == [fractions.Fraction(3)]
    assert instantiate(None, key="k") is None
    assert instantiate(len, key="k") is len


def test_a_target_that_does_not_exist_names_its_neighbors() -> None:
    problem = problem_of({"x": {"_target_": "fractions.Fractoin"}, "_target_": "builtins.dict"})
    assert problem.key == "section.x._target_"
    assert problem.value == "fractions.Fractoin"
    assert "did you mean 'Fraction'" in problem.expected


def test_a_target_in_a_list_is_found_by_its_number() -> None:
    steps = [{"_target_": "fractions.Fraction"}, {"_target_": "fractions.Fractoin"}]
    problem = problem_of({"_target_": "builtins.dict", "steps": steps})
    assert problem.key == "section.steps.1._target_"
    assert problem.value == "fractions.Fractoin"


@pytest.mark.parametrize("place", ["a", "a1", "21"])
def test_mistakes_are_found_by_the_keys_of_lists_and_numbered_names(place: str) -> None:
    wrong = {"_target_": "fractions.Fraction", "numerater": 3}
    config = {"_target_": "builtins.dict", f"steps{place}": [{"x": [{}, wrong]}, wrong]}
    assert problem_of(config).key == f"section.steps{place}.0.x.1"
    config = {"_target_": "builtins.dict", f"steps{place}": [{}, wrong]}
    assert problem_of(config).key == f"section.steps{place}.1"


def test_a_mistake_in_a_list_of_targets_is_reported_at_its_place() -> None:
    right = {"_target_": "fractions.Fraction"}
    problem = problem_of([right, {"_target_": "fractions.Fractoin"}])
    assert problem.key == "section.1._target_"
    assert problem.value == "fractions.Fractoin"
    problem = problem_of([right, {**right, "numerater": 3}])
    assert (problem.key, problem.value) == ("section.1", "fractions.Fraction")


@pytest.mark.parametrize("target", [None, 3])
def test_a_target_that_is_no_path_says_what_it_needs(target: int | None) -> None:
    problem = problem_of([{"_target_": target}])
    assert (problem.key, problem.value) == ("section.0._target_", target)
    assert problem.expected.startswith("needs the full path")


def test_settings_that_hydra_itself_refuses_are_reported() -> None:
    problem = problem_of({"_target_": "builtins.dict", "_partial_": "x"})
    assert "_partial_ flag must be a bool" in problem.expected


def test_names_of_sesemi_say_what_they_are_here() -> None:
    problem = problem_of({"_target_": "sesemi.transforms.train_transforms"})
    assert "here it is sesemi_like.transforms.train_transforms" in problem.expected


def test_a_module_that_does_not_exist_is_named() -> None:
    assert "no module 'nowhere'" in problem_of({"_target_": "nowhere.Thing"}).expected


def test_an_argument_that_is_not_taken_names_those_that_are() -> None:
    problem = problem_of({"_target_": "fractions.Fraction", "numerater": 3})
    assert (problem.key, problem.value) == ("section", "fractions.Fraction")
    assert "it takes no 'numerater'; did you mean 'numerator'" in problem.expected


def test_the_real_cause_is_reported() -> None:
    problem = problem_of({"_target_": "fractions.Fraction", "numerator": 1, "denominator": 0})
    assert "ZeroDivisionError" in problem.expected


def test_a_config_error_inside_keeps_its_own_key() -> None:
    problem = problem_of({"_target_": f"{__name__}.refuse"})
    assert (problem.key, problem.value, problem.expected) == ("inner.key", 3, "must be 4")
