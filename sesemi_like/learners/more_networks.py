"""Networks of the user's own, such as projectors, added to those that a learner builds."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from ..config.instantiate import instantiate
from ..config.locate import locate
from ..errors import ConfigError, ConfigProblem, Problems
from ..models.networks import Networks


def add_networks(networks: Networks, configs: Mapping[str, Any], *, key: str, **sizes: int) -> None:
    """Builds networks from their configs and adds them.

    Args:
        networks: The networks of a learner, which are added to.
        configs: Their configs by name; null switches one off.
        key: The config key of all.
        **sizes: Arguments such as `in_features`, for constructors that have them and configs that
            do not.

    Raises:
        ConfigError: With every network that cannot be built, or whose name cannot be used.
    """
    problems = Problems()
    for name, config in configs.items():
        if config is not None:
            with problems.collecting():
                network = _build(config, f"{key}.{name}", sizes)
                networks.add(name, network, key=key)
    problems.raise_if_any()


def _build(config: Any, key: str, sizes: Mapping[str, int]) -> nn.Module:
    given = {
        name: size
        for name, size in sizes.items()
        if isinstance(config, Mapping) and name not in config and name in _parameters(config, key)
    }
    network = instantiate(config, key=key, **given)
    if not isinstance(network, nn.Module):
        expected = "is no network; needs the _target_ of a torch.nn.Module"
        raise ConfigError([ConfigProblem(key, config, expected)])
    return network


def _parameters(config: Mapping[str, Any], key: str) -> set[str]:
    if "_target_" not in config:
        return set()
    try:
        return set(inspect.signature(locate(config["_target_"], key)).parameters)
    except (TypeError, ValueError):  # some built-in callables have no signature
        return set()
