"""What the loaders of a run are called: by split and name, and as users name them."""

from __future__ import annotations

from collections.abc import Container

TRAIN = "train."
"""What the names of train loaders begin with among all loaders of a run."""

EVALUATED = ("val", "test")
"""The names of the loaders of evaluation."""


def config_key(name: str) -> str:
    """The config key of a loader."""
    return f"data.{name}"


def display_name(name: str, names: Container[str]) -> str:
    """What a loader is called in reports: a train loader as users name it where that is clear.

    Args:
        name: Its split and name.
        names: The names of all loaders.
    """
    short = name.removeprefix(TRAIN)
    return name if short in names else short
