"""The evaluators of a run, and the train loaders that they read."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ..config.instantiate import instantiate, plain
from ..errors import ConfigProblem, Problems, suggest
from ..evaluation import Evaluator


def build_evaluators(config: Any, problems: Problems) -> dict[str, Evaluator]:
    """Builds the evaluators of a run.

    Args:
        config: `run.evaluators`: configs by name, or None.
        problems: Collects the mistakes in those that cannot be built, which are left out.
    """
    evaluators = {}
    for name, evaluator in (plain(config) or {}).items():
        with problems.collecting():
            evaluators[name] = instantiate(evaluator, key=f"run.evaluators.{name}")
    return evaluators


def reading_problems(
    evaluators: dict[str, Evaluator], loaders: Collection[str]
) -> list[ConfigProblem]:
    """Finds evaluators of train loaders that do not exist.

    Args:
        evaluators: The evaluators by name.
        loaders: The names of the train loaders that are loaded.
    """
    return [
        ConfigProblem(
            f"run.evaluators.{name}",
            loader,
            f"there is no train loader {loader!r}; {suggest(loader, loaders, noun='loaders')}",
        )
        for name, evaluator in evaluators.items()
        for loader in evaluator.reads
        if loader not in loaders
    ]
