"""Private parts of Hydra and OmegaConf that have no public equivalent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

ApplyOverrides = Callable[[list[Override], DictConfig], None]
"""Changes a composed config, in place, by overrides of its keys."""

apply_as_hydra: ApplyOverrides = ConfigLoaderImpl._apply_overrides_to_config
"""What Hydra does by itself: it refuses keys below one that is null."""


def apply_overrides_with(apply: ApplyOverrides) -> None:
    """Has Hydra apply overrides of keys by a function of ours, wherever it composes.

    Args:
        apply: Takes the place of :data:`apply_as_hydra`.
    """
    loader: Any = ConfigLoaderImpl
    loader._apply_overrides_to_config = staticmethod(apply)


def is_null_mapping(node: DictConfig, name: str) -> bool:
    """Whether the value at a key is a mapping, by its type, that is null.

    Args:
        node: A mapping that is not null.
        name: One of its keys.
    """
    child: Any = node._get_node(name)
    return isinstance(child, DictConfig) and child._is_none()
