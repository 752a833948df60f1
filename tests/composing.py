"""Composes built-in configs as the command does."""

from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from sesemi_like.config.resolvers import register_resolvers
from sesemi_like.config.store import builtin_configs, register_configs


def composed(name: str, *overrides: str, folder: Path | None = None) -> DictConfig:
    """The config of that name, with overrides as on the command line.

    Args:
        name: The primary config.
        *overrides: As on the command line.
        folder: A person's own config folder, searched before the built-in ones.
    """
    register_configs()
    register_resolvers()
    GlobalHydra.instance().clear()
    search = f"hydra.searchpath=[file://{builtin_configs()}]"
    with initialize_config_dir(str(folder or builtin_configs()), version_base="1.3"):
        return compose(name, overrides=[search, *overrides])
