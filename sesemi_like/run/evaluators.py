"""The evaluators of a run, and the loaders that they read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ..config.instantiate import instantiate, plain
from ..data import DataModule
from ..data.loading.keys import EVALUATED, config_key, short_name
from ..errors import ConfigProblem, Problems, suggest
from ..evaluation import Evaluator
from ..learners import Learner


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
    return {name for evaluator in run for name in (*evaluator.reads, *evaluator.sets)}


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
        for loader in (*evaluator.reads, *evaluator.sets)
        if loader not in loaders
    ]


def needs_problems(
    evaluators: Mapping[str, Evaluator], data: DataModule, learner: Learner
) -> Iterator[ConfigProblem]:
    """Finds evaluators that need what neither fields nor outputs of their data offer.

    Args:
        evaluators: The evaluators by name.
        data: The data of the run.
        learner: The learner, after its dry run: what is not known to be answered is not missed.
    """
    offered = {
        short_name(loader): (config_key(loader), set(batch), learner.evaluated.offered(batch))
        for loader, batch in data.sample_batches.items()
    }
    for name, evaluator in evaluators.items():
        splits = [split for split in EVALUATED if split in offered and evaluator.is_run_on(split)]
        for loader in (*splits, *(s for s in evaluator.sets if s in offered)):
            key, fields, outputs = offered[loader]
            read = [offered[other] for other in evaluator.reads if other in offered]
            if outputs is None or any(of_other is None for _, _, of_other in read):
                continue
            known = {*fields, *outputs}.union(*({*f, *(o or ())} for _, f, o in read))
            for need in evaluator.needs:
                if need == "target" and need not in known:
                    expected = "its batches have no target to evaluate with"
                    yield ConfigProblem(key, sorted(fields), expected)
                elif need not in known:
                    expected = f"{key} offers no such field or output; "
                    expected += suggest(need, sorted({*outputs, *fields}), noun="it offers")
                    yield ConfigProblem(f"run.evaluators.{name}", need, expected)
