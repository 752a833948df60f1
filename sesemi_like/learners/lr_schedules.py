"""The learning-rate schedule of a run as Lightning takes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer

from ..config.headline import Headline
from ..config.instantiate import instantiate


def watched_metric(schedule: Mapping[str, Any] | None, headline: Headline) -> str | None:
    """The metric that a schedule watches: what it names, or the headline if it must watch one.

    Args:
        schedule: The section `lr_scheduler`, or None.
        headline: The figure that the run is judged by.
    """
    if not schedule:
        return None
    name = schedule.get("monitor")
    return str(name) if name else headline.name if watches_a_metric(schedule) else None


def watches_a_metric(schedule: Mapping[str, Any]) -> bool:
    """Whether the scheduler of a section `lr_scheduler` is one that steps by a metric."""
    scheduler = schedule.get("scheduler")
    target = scheduler.get("_target_") if isinstance(scheduler, Mapping) else scheduler
    return str(target).endswith("ReduceLROnPlateau")


def build_schedule(
    schedule: Mapping[str, Any], optimizer: Optimizer, headline: Headline, *, key: str
) -> dict[str, Any]:
    """Builds a schedule.

    Args:
        schedule: The section `lr_scheduler`; one that steps by a metric and names none watches the
            headline, and in its direction.
        optimizer: The optimizer that it steps.
        headline: The figure that the run is judged by.
        key: The section's config key.

    Returns:
        The settings that Lightning takes.
    """
    direction = {}
    if watches_a_metric(schedule) and not schedule.get("monitor"):
        own = schedule["scheduler"]
        direction = {} if "mode" in own else {"mode": headline.direction}
    built = instantiate(schedule["scheduler"], optimizer, key=f"{key}.scheduler", **direction)
    rest = {k: v for k, v in schedule.items() if k != "scheduler" and v is not None}
    watched = watched_metric(schedule, headline)
    return {**rest, **({"monitor": watched} if watched else {}), "scheduler": built}
