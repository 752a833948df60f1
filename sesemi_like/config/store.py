"""What Hydra can compose: the typed structs, and where the built-in configs are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.conf import HydraConf, JobConf, RunDir, SweepDir
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf, open_dict

from .learners import LEARNERS
from .overrides import reach_below_nulls
from .structs import AppConfig

PRIMARY_CONFIG = "sesemi_config"
"""The bare config: the structs and a classifier learner."""


def builtin_configs() -> Path:
    """The folder of built-in configs: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "builtin_configs"
    return installed if installed.is_dir() else package.parent / "builtin_configs"


def register_configs(*, typed: bool = True) -> None:
    """Registers the structs with Hydra, as `app_config` and in the group `learner`.

    Args:
        typed: Whether Hydra refuses unknown keys and wrong types. Without types the same defaults
            are composed and anything is let through, so that all mistakes can be reported at once.
    """
    nodes: list[tuple[str | None, str, type]] = [(None, "app_config", AppConfig)]
    nodes += [("learner", entry.name, entry.struct) for entry in LEARNERS.values()]
    for group, name, struct in nodes:
        node = OmegaConf.structured(struct)
        if not typed:
            node = OmegaConf.create(OmegaConf.to_container(node, resolve=False))
        ConfigStore.instance().store(name=name, node=node, group=group, provider="sesemi_like")
    ConfigStore.instance().store(name="config", node=_hydra_settings(), group="hydra")
    reach_below_nulls()


def restore_sections(config: DictConfig) -> None:
    """Gives sections that `~section` took away their defaults again.

    Args:
        config: A composed config, which is changed.
    """
    defaults = OmegaConf.structured(AppConfig)
    with open_dict(config):
        for name in defaults:
            if name not in config and not OmegaConf.is_missing(defaults, name):
                config[name] = OmegaConf.select(defaults, str(name))


def _hydra_settings() -> HydraConf:
    """Hydra's own settings: it logs to the terminal and makes no folder.

    The run makes its folder itself, once it is sure to start.
    """
    no_folder: Any = None  # which the type of the field leaves out
    settings = HydraConf(
        run=RunDir("."),
        sweep=SweepDir(dir="${run.dir}/${run.id}", subdir="."),
        output_subdir=no_folder,
        job=JobConf(name="open_cli"),
    )
    quiet = {"job_logging": "stdout"}
    settings.defaults = [
        quiet if isinstance(entry, dict) and "job_logging" in entry else entry
        for entry in settings.defaults
    ]
    return settings
