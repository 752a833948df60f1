"""What the command line chose that a composed config no longer shows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import OmegaConf

from .from_run import FROM_RUN, earlier_choices

_LONGEST = 100
"""Characters of a label: names of folders may have 255 bytes, of which a time takes some."""


@dataclass(frozen=True)
class Choices:
    """The choices behind a composed config.

    Attributes:
        config: The primary config (`-cn`), or that of the earlier run; None where Hydra
            composed nothing.
        groups: The choice of each config group, those that are null left out.
        overrides: The overrides of this run, as they were written.
        differing: Those that differ from other runs of its sweep: values by key.
    """

    config: str | None = None
    groups: dict[str, str] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)
    differing: dict[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What differs, as a part of a folder's name: ``method-fixmatch_seed-0``."""
        parts = [f"{short}-{value}" for short, value in _short_keys(self.differing).items()]
        safe = (re.sub(r"[^A-Za-z0-9_.+-]+", "-", part).strip("-.") for part in parts)
        return "_".join(part for part in safe if part)[:_LONGEST].rstrip("-._")


def choices() -> Choices:
    """Reads them from Hydra; a config that the command did not compose has none."""
    if not HydraConfig.initialized():
        return Choices()
    hydra = HydraConfig.get()
    groups = {
        name: str(choice)
        for name, choice in hydra.runtime.choices.items()
        if choice is not None and not name.startswith("hydra/")
    }
    overrides: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)
    differing = {}
    if hydra.mode == RunMode.MULTIRUN:
        alike = hydra.job.config.override_dirname.exclude_keys
        differing = {k: v for k, v in values_by_key(overrides).items() if k not in alike}
    config = hydra.job.config_name
    if config == FROM_RUN:
        config, earlier = earlier_choices(overrides)
        groups = earlier | groups
    return Choices(config, groups, overrides, differing)


def sweeper() -> Mapping[str, Any]:
    """The section `hydra.sweeper` of a sweep; empty for a single run."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return {}
    found: Any = OmegaConf.to_container(HydraConfig.get().sweeper, resolve=False)
    return found or {}


def values_by_key(overrides: Sequence[str]) -> dict[str, str]:
    """Takes overrides apart, such as ``{"run.seed": "0"}`` for ``run.seed=0``."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return {o.get_key_element().lstrip("+~"): o.get_value_element_as_str() for o in parsed}


def constant_keys(overrides: Sequence[str]) -> str:
    """Names the keys that have one value in all runs of a sweep, as an override of Hydra's own.

    Args:
        overrides: The overrides of the command line.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    keys = [o.get_key_element().lstrip("+~") for o in parsed if not o.is_sweep_override()]
    listed = ",".join(f'"{key}"' for key in keys)
    return f"hydra.job.config.override_dirname.exclude_keys=[{listed}]"


def _short_keys(differing: Mapping[str, str]) -> dict[str, str]:
    """Keys by their last part, where only one has it."""
    lasts = [key.rpartition(".")[2] for key in differing]
    return {
        last if lasts.count(last) == 1 else key: value
        for (key, value), last in zip(differing.items(), lasts, strict=True)
    }
