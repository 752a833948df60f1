"""Compares a plain config with the typed structs and names every unknown key and wrong type."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import ConfigProblem, suggest


def schema_problems(
    config: Any, struct: type, key: str = "", *, is_open: bool = False
) -> Iterator[ConfigProblem]:
    """Walks a plain config along a struct.

    Args:
        config: Plain dicts, lists and scalars.
        struct: The dataclass that describes them.
        key: The dotted key of `config`, empty at the top.
        is_open: Whether keys that the struct does not have are let through.

    Yields:
        A problem for each unknown key, wrong type and wrong choice.
    """
    if not isinstance(config, Mapping):
        yield ConfigProblem(key, config, f"needs a mapping with {', '.join(_types(struct))}")
        return
    known = _types(struct)
    for name, value in config.items():
        path = f"{key}.{name}" if key else str(name)
        if name in known:
            yield from _value_problems(value, known[name], path, struct, str(name))
        elif not is_open:
            expected = f"no such key; {suggest(str(name), known, noun='keys')}"
            yield ConfigProblem(path, value, expected)


def field_help(struct: type, name: str) -> str:
    """The sentence that a struct's docstring gives to one of its fields."""
    found = re.search(
        rf"^\s+{name}: (.+?)(?=\n\s+\w+: |\n\s*\n|\Z)", struct.__doc__ or "", re.M | re.S
    )
    return " ".join(found.group(1).split()) if found else ""


def field_of(struct: type, key: str) -> tuple[type, str] | None:
    """Finds the struct and field name behind a dotted key, or None where a key is free-form."""
    owner, *rest = key.split(".")
    kind = _types(struct).get(owner)
    if kind is None:
        return None
    if not rest:
        return struct, owner
    inner = _struct_in(kind)
    if inner is None:
        return None
    return field_of(inner, ".".join(rest[1:] if _is_dict(kind) else rest))


def _types(struct: type) -> dict[str, Any]:
    hints = typing.get_type_hints(struct)
    return {f.name: hints[f.name] for f in fields(struct)}


def _options(kind: Any) -> tuple[Any, ...]:
    """The members of a union, or the type alone."""
    is_union = isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union
    return typing.get_args(kind) if is_union else (kind,)


def _is_dict(kind: Any) -> bool:
    return any(typing.get_origin(option) is dict for option in _options(kind))


def _struct_in(kind: Any) -> type | None:
    """The dataclass that a type, an optional type or a dict's values hold."""
    for option in _options(kind):
        if typing.get_origin(option) is dict:
            return _struct_in(typing.get_args(option)[1])
        if is_dataclass(option):
            return typing.cast(type, option)
    return None


def _value_problems(
    value: Any, kind: Any, key: str, struct: type, name: str
) -> Iterator[ConfigProblem]:
    is_unknown = value == "???" or (isinstance(value, str) and "${" in value)
    if kind is Any or is_unknown or (value is None and type(None) in _options(kind)):
        return
    inner = _struct_in(kind)
    if inner is None:
        yield from _scalar_problems(value, key, struct, name)
    elif _is_dict(kind) and isinstance(value, Mapping):
        for entry, content in value.items():
            if content is not None:
                yield from schema_problems(content, inner, f"{key}.{entry}")
    elif _is_dict(kind):
        yield ConfigProblem(key, value, "needs a mapping from names to configs")
    else:
        yield from schema_problems(value, inner, key)


def _scalar_problems(value: Any, key: str, struct: type, name: str) -> Iterator[ConfigProblem]:
    """Lets OmegaConf judge a single value, so that types mean here what they mean there."""
    try:
        OmegaConf.merge(OmegaConf.structured(struct), {name: value})
    except (OmegaConfBaseException, ValueError):
        yield ConfigProblem(
            key, value, _expected_type(_types(struct)[name], field_help(struct, name))
        )


def _expected_type(kind: Any, sentence: str) -> str:
    options = [option for option in _options(kind) if option is not type(None)]
    if isinstance(options[0], type) and issubclass(options[0], Enum):
        return "must be one of " + ", ".join(member.name for member in options[0])
    names = [getattr(option, "__name__", str(option)) for option in options]
    optional = " or null" if type(None) in _options(kind) else ""
    return f"must be {' or '.join(names)}{optional} ({sentence})"
