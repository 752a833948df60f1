"""What the loaders of a run are called: by split and name, and as users name them."""

from __future__ import annotations

from collections.abc import Container

TRAIN = "train."
"""What the names of train loaders begin with among all loaders of a run."""

EVALUATED = ("val", "test")
"""The loaders that are validated and tested on."""

EVALUATION = "evaluation."
"""What the names of further evaluated loaders begin with."""

PREDICT = "predict"
"""The loader of what is predicted."""


def is_evaluated(name: str) -> bool:
    """Whether a loader is evaluated or predicted, not trained on.

    Args:
        name: Its split and name.
    """
    return name in (*EVALUATED, PREDICT) or name.startswith(EVALUATION)


def short_name(name: str) -> str:
    """What users call a loader: ``train.supervised`` is `supervised`, ``evaluation.ood`` `ood`."""
    return name.removeprefix(TRAIN).removeprefix(EVALUATION)


def config_key(name: str) -> str:
    """The config key of a loader."""
    return f"data.{name}"


def display_name(name: str, names: Container[str]) -> str:
    """What a loader is called in reports: as users name it where that is clear.

    Args:
        name: Its split and name.
        names: The names of all loaders.
    """
    short = short_name(name)
    return name if short in names else short
