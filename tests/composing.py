"""Composes built-in configs as the command does."""

from pathlib import Path

from omegaconf import DictConfig

from sesemi_like.config.own_code import own_code
from sesemi_like.config.resolvers import register_resolvers
from sesemi_like.config.search_path import compose_config, own_configs
from sesemi_like.config.store import register_configs


def composed(name: str, *overrides: str, folder: Path | None = None) -> DictConfig:
    """The config of that name, with overrides as on the command line.

    Args:
        name: The primary config.
        *overrides: As on the command line.
        folder: A person's own config folder, searched before the built-in ones.
    """
    register_configs()
    register_resolvers()
    own = str(folder) if folder else None
    with own_configs(own), own_code(own):
        return compose_config(name, overrides)
