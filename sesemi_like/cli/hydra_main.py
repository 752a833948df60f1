"""Has `hydra.main` carry out runs, sweeps and completion, with words of ours as its arguments."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from ..config.command_line import constant_keys
from ..config.store import builtin_configs

Task = Callable[[DictConfig], Any]
"""Carries out a composed config; of a sweep, returns the figure by which sweepers choose."""


def run_jobs(task: Task, config_name: str, overrides: Sequence[str], *, sweeps: bool) -> None:
    """Carries out one run, or the runs of a sweep.

    Args:
        task: Carries out one run.
        config_name: The primary config.
        overrides: The overrides of the command line.
        sweeps: Whether they may hold several values each; a config may ask for that as well.

    Raises:
        HydraException: If the config cannot be composed; so do OmegaConf's and YAML's errors.
    """
    words = ["--config-name", config_name, *(["--multirun"] if sweeps else [])]
    run_hydra([*words, *overrides, constant_keys(overrides)], task)


def is_sweeping() -> bool:
    """Whether the current run is one of a sweep."""
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def run_hydra(words: Sequence[str], task: Task = lambda config: None) -> None:
    """Calls `hydra.main` as if it had been started with these words.

    Args:
        words: Options and overrides, as Hydra's own command line takes them.
        task: Carries out one run.
    """
    own = sys.argv

    def with_own_arguments(config: DictConfig) -> Any:
        sys.argv = own  # with which Lightning starts the processes of further devices
        return task(config)

    sys.argv = [own[0], *words]
    try:
        hydra.main(str(builtin_configs()), version_base="1.3")(with_own_arguments)()
    finally:
        sys.argv = own
