"""The builder gives what `hydra.utils.instantiate` gives, for every special key."""

import functools
from dataclasses import dataclass
from typing import Any

import hydra.utils
import pytest
from omegaconf import DictConfig, ListConfig, OmegaConf

from sesemi_like.config.instantiate import instantiate
from sesemi_like.errors import ConfigError, ConfigProblem

CALL: dict[str, Any] = {"_target_": f"{__name__}.call"}
POINT: dict[str, Any] = {"_target_": f"{__name__}.Point", "x": 1}


@dataclass
class Point:
    """A dataclass, which OmegaConf would take for a config."""

    x: int
    y: int = 0


def call(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """Returns how it was called, with the types of all containers."""
    return {"args": described(list(args)), "kwargs": described(kwargs)}


def described(value: Any) -> Any:
    """A value with the types of its containers; partials as their arguments."""
    if isinstance(value, functools.partial):
        return ("partial", described(value()))
    if isinstance(value, dict | DictConfig):
        return (type(value), {name: described(value[name]) for name in value})
    if isinstance(value, list | ListConfig):
        return (type(value), [described(entry) for entry in value])
    return value


CONFIGS: dict[str, dict[Any, Any]] = {
    "no arguments": CALL,
    "scalars": {**CALL, "a": 1, "b": 1.5, "c": "text", "d": None, "e": True},
    "containers": {**CALL, "a": {"b": [1, {"c": [2]}]}, "e": [], "f": {}},
    "nested": {**CALL, "a": {**CALL, "b": POINT}, "c": [POINT, {"d": POINT}]},
    "positional": {**CALL, "_args_": [1, [2], POINT], "a": 3},
    "partial": {**CALL, "_partial_": True, "a": POINT, "_args_": [1]},
    "nested partial": {**CALL, "a": {**CALL, "_partial_": True, "b": "???"}},
    "not recursive": {**CALL, "_recursive_": False, "a": POINT, "b": [POINT]},
    "not recursive below": {**CALL, "a": {**CALL, "_recursive_": False, "b": POINT}, "c": POINT},
    "containers of OmegaConf": {**CALL, "_convert_": "none", "a": [1, {"b": 2}], "c": POINT},
    "containers of OmegaConf below": {**CALL, "a": {**CALL, "_convert_": "none", "b": {"c": [1]}}},
    "conversions that are plain": {**CALL, "_convert_": "partial", "a": {"b": [{**CALL}]}},
    "plain again": {**CALL, "_convert_": "none", "a": {**CALL, "_convert_": "object", "b": {}}},
    "interpolations": {**CALL, "a": 3, "b": "${.a}", "c": {"d": ["${a}"]}},
    "numbers as keys": {**CALL, "a": {1: 2, 3: {**CALL}}},
}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("args", [(), (1, "two")], ids=["", "args"])
def test_results_are_those_of_hydra(name: str, args: tuple[Any, ...]) -> None:
    config = OmegaConf.create(CONFIGS[name])
    convert = {} if "_convert_" in config else {"_convert_": "all"}
    expected = hydra.utils.instantiate(config, *args, **convert)
    assert described(instantiate(config, *args, key="key")) == described(expected)


@pytest.mark.parametrize("name", ["scalars", "positional", "partial", "not recursive"])
def test_arguments_of_the_call_are_added_or_replace_those_of_the_config(name: str) -> None:
    config = OmegaConf.create(CONFIGS[name])
    added = {"a": 7, "z": {"y": [POINT]}}
    expected = hydra.utils.instantiate(config, _convert_="all", **added)
    assert described(instantiate(config, key="key", **added)) == described(expected)


def test_lists_are_built_as_hydra_builds_them() -> None:
    config = OmegaConf.create([POINT, {**CALL, "a": POINT}])
    expected = hydra.utils.instantiate(config, _convert_="all")
    assert described(instantiate(config, key="key")) == described(expected)


def test_objects_of_the_call_are_passed_through() -> None:
    point, numbers = Point(3), (1, 2)
    built = instantiate({"_target_": "builtins.dict"}, key="key", a=point, b=[point], c=numbers)
    assert built["a"] is point
    assert built["b"][0] is point
    assert built["c"] is numbers


@pytest.mark.parametrize("target", ["os.system", "builtins.eval", "shutil.rmtree"])
def test_what_hydra_refuses_to_run_from_a_config_is_refused(target: str) -> None:
    with pytest.raises(ConfigError, match="blocklisted") as caught:
        instantiate({"_target_": target, "_args_": ["nowhere"]}, key="key")
    (problem,) = caught.value.problems
    assert (problem.key, problem.value) == ("key._target_", target)


@pytest.mark.parametrize(
    ("change", "key", "expected"),
    [
        ({"_convert_": "everything"}, "key.a.0._convert_", "choices"),
        ({"_recursive_": 3}, "key.a.0._recursive_", "must be a bool"),
        ({"_args_": "text"}, "key.a.0._args_", "needs a list"),
        ({"b": {"c": "???"}}, "key.a.0.b.c", "a value is needed"),
        ({"_target_": "math.pi"}, "key.a.0._target_", "callable"),
        ({"_target_": "math.pie"}, "key.a.0._target_", "did you mean 'pi'"),
        ({"_target_": "fractions.Fraction.from_flote"}, "key.a.0._target_", "'from_float'"),
    ],
)
def test_each_mistake_is_at_its_key(change: dict[str, Any], key: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        instantiate({**CALL, "a": [{**CALL, **change}]}, key="key")
    (problem,) = caught.value.problems
    assert problem.key == key
    assert expected in problem.expected


def refuse() -> None:
    """Refuses its settings as parts of this package do."""
    raise ConfigError([ConfigProblem("inner", 1, "must be 2")])


@pytest.mark.parametrize("depth", [1, 2])
def test_an_error_of_a_target_is_not_its_own_cause(depth: int) -> None:
    config: dict[str, Any] = {"_target_": f"{__name__}.refuse"}
    for _ in range(1, depth):
        config = {**CALL, "a": config}
    with pytest.raises(ConfigError) as caught:
        instantiate(config, key="key")
    assert caught.value.problems == [ConfigProblem("inner", 1, "must be 2")]
    causes: list[BaseException] = [caught.value]
    while causes[-1].__cause__ is not None and len(causes) < 10:
        causes.append(causes[-1].__cause__)
    assert len(causes) < 10
