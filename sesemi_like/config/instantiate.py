"""Builds the objects that a config describes; failures name key, target, cause, similar names."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import ConfigError, ConfigProblem, suggest
from .locate import locate
from .origins import origin_if_older

_MERGED = (
    "Mappings are merged: '~{key}' and '+{key}={{...}}' on the command line replace the whole;"
    " docs/configuration.md has how a file does"
)

_TARGET, _PARTIAL, _ARGS = "_target_", "_partial_", "_args_"
_RECURSIVE, _CONVERT = "_recursive_", "_convert_"
_KEEPS_CONTAINERS = "none"
_CONVERSIONS = ("all", "object", "partial", _KEEPS_CONTAINERS)


def plain(config: Any) -> Any:
    """Turns a config node into plain dicts, lists and scalars, with interpolations resolved."""
    if isinstance(config, DictConfig | ListConfig):
        return OmegaConf.to_container(config, resolve=True)
    return config


def has_target(config: Any) -> bool:
    """Whether a config, or an entry of a list of configs, names a `_target_`."""
    if isinstance(config, Mapping | DictConfig):
        return _TARGET in config
    if isinstance(config, Sequence | ListConfig) and not isinstance(config, str):
        return any(has_target(entry) for entry in config)
    return False


def instantiate(config: Any, *args: Any, key: str, **kwargs: Any) -> Any:
    """Builds the object that a config describes, as `hydra.utils.instantiate` does.

    A config has a `_target_`, and may have `_args_`, `_partial_`, `_recursive_` and `_convert_`
    (`all` where it is not given), which mean what they mean to Hydra.

    Args:
        config: A config with a `_target_`, a list of such, or an object, which is returned
            unchanged.
        *args: Positional arguments of the target; they replace `_args_`.
        key: The config's key, for messages.
        **kwargs: Keyword arguments that are added to those of the config, or replace them.

    Returns:
        The object; containers inside it are plain dicts and lists.

    Raises:
        ConfigError: If a target cannot be found, does not take these arguments or refuses them.
    """
    if not has_target(config):
        return config
    try:
        content = plain(OmegaConf.create(plain(config)))
    except OmegaConfBaseException as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError([ConfigProblem(key, config, reason)]) from error
    if isinstance(content, list):
        return [
            instantiate(entry, *args, key=f"{key}.{number}", **kwargs)
            for number, entry in enumerate(content)
        ]
    return _call(content | kwargs, args, key, _Modes().within(content, key))


def instantiate_within(config: Any, *, key: str) -> Any:
    """Builds every object that is described anywhere in a config, and leaves the rest as it is.

    Args:
        config: A mapping, a list or a value; one with a `_target_` becomes that object.
        key: The config's key, for messages, which name the path below it.

    Returns:
        Plain dicts, lists and values, with the objects in their places.

    Raises:
        ConfigError: As :func:`instantiate`.
    """
    return _build(config, key, _Modes())


@dataclass(frozen=True)
class _Modes:
    """How a node and all below it are built, unless a node sets another mode.

    Attributes:
        recursive: Whether configs among the arguments are built as well.
        convert: ``none`` gives targets OmegaConf's containers, anything else plain ones.
    """

    recursive: bool = True
    convert: str = "all"

    def within(self, node: Mapping[Any, Any], key: str) -> _Modes:
        """The modes below a node."""
        convert = node.get(_CONVERT, self.convert)
        if convert not in _CONVERSIONS:
            expected = suggest(str(convert), _CONVERSIONS, noun="choices")
            raise ConfigError([ConfigProblem(f"{key}.{_CONVERT}", convert, expected)])
        return _Modes(_flag(node, _RECURSIVE, key, default=self.recursive), convert)


def _flag(node: Mapping[Any, Any], name: str, key: str, *, default: bool) -> bool:
    value = node.get(name, default)
    if not isinstance(value, bool):
        expected = f"the {name} flag must be a bool: true or false"
        raise ConfigError([ConfigProblem(f"{key}.{name}", value, expected)])
    return value


def _build(node: Any, key: str, modes: _Modes) -> Any:
    """Builds what is described anywhere in a node; other objects are returned unchanged."""
    if isinstance(node, str) and node == MISSING:
        raise ConfigError([ConfigProblem(key, node, "a value is needed")])
    node = plain(node)
    if isinstance(node, list):
        return [_build(entry, f"{key}.{number}", modes) for number, entry in enumerate(node)]
    if not isinstance(node, dict):
        return node
    modes = modes.within(node, key)
    if _TARGET in node:
        return _call(node, (), key, modes)
    return {name: _build(value, f"{key}.{name}", modes) for name, value in node.items()}


def _call(node: Mapping[Any, Any], args: Sequence[Any], key: str, modes: _Modes) -> Any:
    """Calls the target of a node; of a partial node, returns the call with its arguments."""
    target = locate(node[_TARGET], key)
    is_partial = _flag(node, _PARTIAL, key, default=False)
    arguments = {
        name: _argument(value, f"{key}.{name}", modes)
        for name, value in node.items()
        if name not in (_TARGET, _PARTIAL, _RECURSIVE, _CONVERT)
        and not (is_partial and isinstance(value, str) and value == MISSING)
    }
    positional = arguments.pop(_ARGS, ())
    if not isinstance(positional, Sequence) or isinstance(positional, str):
        raise ConfigError([ConfigProblem(f"{key}.{_ARGS}", positional, "needs a list")])
    try:
        call = partial(target, *(args or positional), **arguments)
        return call if is_partial else call()
    except Exception as error:
        raise _call_error(error, node[_TARGET], target.func, key) from error


def _argument(value: Any, key: str, modes: _Modes) -> Any:
    is_called = modes.recursive and isinstance(value, dict) and _TARGET in value
    built = _build(value, key, modes) if modes.recursive else plain(value)
    if modes.convert == _KEEPS_CONTAINERS and isinstance(value, dict | list) and not is_called:
        return OmegaConf.create(built, flags={"allow_objects": True})
    return built


def _call_error(error: Exception, target: str, function: Any, key: str) -> ConfigError:
    """The reason of a failed call, with similar names for an argument that is not taken."""
    cause: BaseException = error
    while cause.__cause__ is not None and not isinstance(cause, ConfigError):
        cause = cause.__cause__
    if isinstance(cause, ConfigError):
        return ConfigError(cause.problems)  # another one, as none can be its own cause
    rejection = _unknown_argument(cause, function, key)
    expected = rejection or f"it refused its settings: {type(cause).__name__}: {cause}"
    return ConfigError([ConfigProblem(key, target, expected)])


def _unknown_argument(cause: BaseException, function: Any, key: str) -> str | None:
    unexpected = re.search(r"unexpected keyword argument '(\w+)'", str(cause))
    if not unexpected:
        return None
    name = unexpected.group(1)
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None
    source = origin_if_older(f"{key}.{name}", f"{key}.{_TARGET}")
    known = f"it takes no {name!r}; {suggest(name, parameters, noun='it takes')}"
    return f"{known}; {name!r} is {source}. {_MERGED.format(key=key)}" if source else known
