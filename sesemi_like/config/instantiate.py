"""Hydra's instantiate, whose failures name key, target, real cause and nearest names."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

import hydra.utils
from hydra.errors import InstantiationException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import ConfigError, ConfigProblem, suggest
from .origins import left_over
from .targets import renamed

_PATH = "needs the full path of a class or function that can be imported"

_MERGED = (
    "Mappings are merged: '~{key}' and '+{key}={{...}}' on the command line replace the whole;"
    " docs/configuration.md has how a file does"
)


def plain(config: Any) -> Any:
    """Turns a config node into plain dicts, lists and scalars, with interpolations resolved."""
    if isinstance(config, DictConfig | ListConfig):
        return OmegaConf.to_container(config, resolve=True)
    return config


def has_target(config: Any) -> bool:
    """Says whether a config, or an entry of a list of them, names a `_target_`."""
    if isinstance(config, Mapping | DictConfig):
        return "_target_" in config
    if isinstance(config, Sequence | ListConfig) and not isinstance(config, str):
        return any(has_target(entry) for entry in config)
    return False


def instantiate(config: Any, *args: Any, key: str, **kwargs: Any) -> Any:
    """Builds the object that a config describes.

    Args:
        config: A config with a `_target_`, a list of such, or an object, which is returned as it
            is.
        *args: Positional arguments of the target.
        key: The config's key, for messages.
        **kwargs: Keyword arguments that are added to those of the config.

    Returns:
        The object; containers inside it are plain dicts and lists.

    Raises:
        ConfigError: If the target cannot be found, does not take these arguments or refuses them.
    """
    if not has_target(config):
        return config
    if isinstance(config, Sequence | ListConfig):
        entries = enumerate(plain(config))
        return [instantiate(entry, *args, key=f"{key}.{n}", **kwargs) for n, entry in entries]
    try:
        content = OmegaConf.create(plain(config))
        return hydra.utils.instantiate(content, *args, _convert_="all", **kwargs)
    except (InstantiationException, OmegaConfBaseException, TypeError) as error:
        raise _explained(error, config, key) from error


def _explained(error: Exception, config: Any, key: str) -> ConfigError:
    cause = _root_cause(error)
    if isinstance(cause, ConfigError):
        return cause
    path = _failing_path(str(error), config)
    node = _node_at(config, path)
    target = node.get("_target_") if isinstance(node, Mapping | DictConfig) else None
    key = ".".join(part for part in (key, path) if part)
    if not isinstance(target, str) or "Error locating target" in str(error):
        expected = _not_found(target) if isinstance(target, str) else _PATH
        return ConfigError([ConfigProblem(f"{key}._target_", target, expected)])
    return ConfigError([ConfigProblem(key, target, _refused(target, key, cause))])


def _root_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None and not isinstance(error, ConfigError):
        error = error.__cause__
    return error


def _failing_path(message: str, config: Any) -> str:
    """The key below `config` that Hydra names as ``steps[2].view``, or as ``steps2.view``."""
    found = re.search(r"full_key: (\S+)", message)
    path = re.sub(r"\[(\d+)\]", r".\1", found.group(1)) if found else ""
    known = ""
    for part in filter(None, path.split(".")):
        cuts = [
            part,
            *(f"{part[:n]}.{part[n:]}" for n in range(1, len(part)) if part[n:].isdigit()),
        ]
        paths = [f"{known}.{cut}".lstrip(".") for cut in cuts]
        known = next((p for p in paths if _node_at(config, p) is not None), paths[0])
    return known


def _node_at(config: Any, path: str) -> Any:
    node = OmegaConf.create(plain(config))
    return OmegaConf.select(node, path) if path else node


def _not_found(target: str) -> str:
    """Explains a target that does not exist: the part of its path that is wrong, and near names."""
    parts = target.split(".")
    for length in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:length])
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name and not name.startswith(error.name):
                return f"importing {name} failed: no module named {error.name!r}"
            continue
        except ImportError as error:
            return f"importing {name} failed: {error}"
        known = [n for n in dir(module) if not n.startswith("_")]
        return f"{name} has no {parts[length]!r}; {suggest(parts[length], known, noun='it has')}"
    if parts[0] == "sesemi":
        return renamed(target)
    return f"there is no module {parts[0]!r}; {_PATH}"


def _refused(target: str, key: str, cause: BaseException) -> str:
    """Explains a call that failed, with near names for an argument that is not taken."""
    message = f"it refused its settings: {type(cause).__name__}: {cause}"
    unexpected = re.search(r"unexpected keyword argument '(\w+)'", str(cause))
    if not unexpected:
        return message
    name = unexpected.group(1)
    try:
        parameters = inspect.signature(hydra.utils.get_object(target)).parameters
    except (TypeError, ValueError):
        return message
    source = left_over(f"{key}.{name}", f"{key}._target_")
    known = f"it takes no {name!r}; {suggest(name, parameters, noun='it takes')}"
    return f"{known}; {name!r} is {source}. {_MERGED.format(key=key)}" if source else known
