"""What was chosen on the command line, as far as a composed config no longer shows it."""

from __future__ import annotations

from dataclasses import dataclass, field

from hydra.core.hydra_config import HydraConfig


@dataclass(frozen=True)
class Choices:
    """How a config came about.

    Attributes:
        config: The primary config (`-cn`); None where Hydra composed nothing.
        groups: The choice of each config group, those that are null left out.
        overrides: The overrides of this run, as they were written.
    """

    config: str | None = None
    groups: dict[str, str] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)


def choices() -> Choices:
    """Reads them from Hydra; a config that was not composed by the command has none."""
    if not HydraConfig.initialized():
        return Choices()
    hydra = HydraConfig.get()
    groups = {
        name: str(choice)
        for name, choice in hydra.runtime.choices.items()
        if choice is not None and not name.startswith("hydra/")
    }
    return Choices(hydra.job.config_name, groups, list(hydra.overrides.task))
