"""The rules that checks are made of: bounds, choices, needed values, keys that exclude others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..errors import ConfigProblem, suggest
from .schema import field_help


def needed(node: DictConfig, key: str, name: str, struct: type) -> Iterator[ConfigProblem]:
    """Reports a value that is null and must not be; ``???`` is reported elsewhere.

    Args:
        node: A config.
        key: Its dotted key.
        name: The value's key in it.
        struct: The struct whose docstring has what the value is for.
    """
    if not OmegaConf.is_missing(node, name) and node[name] is None:
        expected = f"a value is needed: {field_help(struct, name)}"
        yield ConfigProblem(f"{key}.{name}", None, expected)


def exclusive(node: Mapping[str, Any], key: str, names: tuple[str, ...]) -> Iterator[ConfigProblem]:
    """Reports keys of which more than one is given.

    Args:
        node: A config.
        key: Its dotted key.
        names: The keys in it that exclude each other.
    """
    given = [name for name in names if node.get(name) is not None]
    if len(given) > 1:
        values = ", ".join(f"{name}={node[name]}" for name in given)
        example = f"null takes back what a file has, as in {key}.{given[0]}=null"
        expected = f"give only one of {', '.join(names)}; {example}"
        yield ConfigProblem(f"{key}.{given[0]}", values, expected)


def at_least(node: Mapping[str, Any], key: str, name: str, low: int) -> Iterator[ConfigProblem]:
    """Reports a number below a bound; null passes.

    Args:
        node: A config.
        key: Its dotted key.
        name: The number's key in it.
        low: The smallest number allowed.
    """
    value = node.get(name)
    if value is not None and value < low:
        yield ConfigProblem(f"{key}.{name}", value, f"must be at least {low}")


def one_of(
    node: Mapping[str, Any], key: str, name: str, choices: tuple[Any, ...]
) -> Iterator[ConfigProblem]:
    """Reports a value that is none of the choices.

    Args:
        node: A config.
        key: Its dotted key.
        name: The value's key in it.
        choices: The values allowed; None is shown as null.
    """
    value = node.get(name)
    if value not in choices:
        names = ["null" if choice is None else choice for choice in choices]
        yield ConfigProblem(f"{key}.{name}", value, suggest(str(value), names, noun="choices"))
