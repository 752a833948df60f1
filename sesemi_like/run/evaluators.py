"""The evaluators of a run, and the loaders that they read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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


def loaders_read(evaluators: Mapping[str, Evaluator], splits: Collection[str]) -> set[str]:
    """Names the loaders that evaluators read beside `val` and `test`, as users name them.

    Args:
        evaluators: The evaluators by name.
        splits: What is evaluated: ``val``, ``test``.
    """
    run = [e for e in evaluators.values() if any(e.is_run_on(split) for split in splits)]
    return {name for evaluator in run for name in evaluator.reads}


def reading_problems(
    evaluators: Mapping[str, Evaluator], loaders: Collection[str]
) -> list[ConfigProblem]:
    """Finds evaluators of loaders that do not exist.

    Args:
        evaluators: The evaluators by name.
        loaders: The names of the train loaders and of those of evaluation.
    """
    return [
        ConfigProblem(
            f"run.evaluators.{name}",
            loader,
            f"there is no such loader in data.train or data.evaluation; "
            f"{suggest(loader, loaders, noun='loaders')}",
        )
        for name, evaluator in evaluators.items()
        for loader in evaluator.reads
        if loader not in loaders
    ]
