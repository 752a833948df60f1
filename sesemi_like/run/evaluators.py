"""The evaluators of a run, and the loaders that they read."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ..config.instantiate import instantiate, plain
from ..data import DataModule
from ..data.checks.labels import class_problems
from ..data.loading.keys import EVALUATED, EVALUATION, config_key, is_evaluated, short_name
from ..errors import ConfigError, ConfigProblem, Problems, suggest
from ..evaluation import Accuracy, Evaluator, Losses, default_evaluators
from ..evaluation.callback import needs_of
from ..learners import Learner
from ..learners.evaluated import evaluation_mode, predict_samples
from ..predictions import LOSSES

log = logging.getLogger(__name__)


def build_evaluators(config: Any, problems: Problems) -> dict[str, Evaluator]:
    """Builds the evaluators of a run.

    Args:
        config: `run.evaluators`: configs by name, or None; one that is null is left out.
        problems: Collects the mistakes in those that cannot be built, which are left out.
    """
    evaluators = {}
    for name, evaluator in (plain(config) or {}).items():
        with problems.collecting():
            if evaluator is not None:
                evaluators[name] = _build(evaluator, f"run.evaluators.{name}")
    return evaluators


def _build(config: Any, key: str) -> Evaluator:
    built = instantiate(config, key=key) if isinstance(config, Mapping) else config
    if not isinstance(built, Evaluator):
        expected = "is no evaluator; needs the _target_ of one, such as "
        expected += "sesemi_like.evaluation.Accuracy"
        raise ConfigError([ConfigProblem(key, config, expected)])
    return built


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
                elif need == LOSSES and need not in known:
                    yield _unmeasured(name, key, fields, learner)
                elif need not in known:
                    expected = f"{key} offers no such field or output; "
                    expected += suggest(need, sorted({*outputs, *fields}), noun="it offers")
                    yield ConfigProblem(f"run.evaluators.{name}", need, expected)


def _unmeasured(name: str, key: str, fields: set[str], learner: Learner) -> ConfigProblem:
    """Says why none of the loss heads can be measured on data with these fields."""
    losses = learner.evaluated.losses
    losses.requests(fields)
    reasons = "; ".join(f"{head}: {reason}" for head, reason in losses.left_out.items())
    expected = f"no loss head can be measured on {key}: {reasons}"
    return ConfigProblem(f"run.evaluators.{name}", LOSSES, expected)


def evaluators_of(
    config: Any, data: DataModule | None, learner: Learner | None, problems: Problems
) -> dict[str, Evaluator]:
    """Builds the evaluators of a run, or chooses those of its learner, and checks them.

    Args:
        config: `run.evaluators`.
        data: The data of the run; None where they have mistakes.
        learner: The learner after its dry run; None where it has mistakes.
        problems: Collects the mistakes.
    """
    evaluators = build_evaluators(config, problems)
    problems.problems += list(_loss_problems(evaluators))
    if learner is None or data is None:
        return evaluators
    if not evaluators:
        evaluators = _defaults(data, learner)
    told = {problem.key for problem in problems.problems}
    found = [*_set_problems(evaluators, data), *needs_problems(evaluators, data, learner)]
    problems.problems += [problem for problem in found if problem.key not in told]
    is_tried = learner.is_rehearsed and not problems.problems
    if is_tried and LOSSES in needs_of(evaluators.values()):
        problems.problems += list(_try_losses(data, learner))
    return evaluators


def _set_problems(evaluators: Mapping[str, Evaluator], data: DataModule) -> list[ConfigProblem]:
    """Finds further sets whose labels are measured as those of validation, and are of others."""
    labeled = [e for e in evaluators.values() if "target" in e.needs]
    sets = dict.fromkeys(f"{EVALUATION}{name}" for e in labeled for name in e.sets)
    return class_problems(data.labels, list(sets))


def _try_losses(data: DataModule, learner: Learner) -> Iterator[ConfigProblem]:
    """Applies the loss heads to a few samples of the data of evaluation."""
    losses = learner.evaluated.losses
    with evaluation_mode(learner):
        for name, batch in data.sample_batches.items():
            if not is_evaluated(name) or not losses.requests(batch):
                continue
            for head, reason in losses.left_out.items():
                log.info("%s/%s/loss is not measured: %s", short_name(name), head, reason)
            try:
                predict_samples(learner, batch, {LOSSES})
            except Exception as error:
                expected = f"the loss heads fail on its first samples: {error}"
                yield ConfigProblem(config_key(name), short_name(name), expected)


def _defaults(data: DataModule, learner: Learner) -> dict[str, Evaluator]:
    """What is measured where the config names nothing."""
    if learner.num_classes is not None:
        return default_evaluators()
    evaluated = [data.sample_batches[name] for name in EVALUATED if name in data.sample_batches]
    is_possible = all(learner.evaluated.losses.requests(batch) for batch in evaluated)
    return default_evaluators(has_classes=False) if is_possible else {}


def _loss_problems(evaluators: Mapping[str, Evaluator]) -> Iterator[ConfigProblem]:
    """Finds evaluators that measure two different losses of one name."""
    if not any(isinstance(evaluator, Losses) for evaluator in evaluators.values()):
        return
    for name, evaluator in evaluators.items():
        if isinstance(evaluator, Accuracy) and evaluator.loss:
            expected = "the evaluator Losses measures val/loss too; set this to false"
            yield ConfigProblem(f"run.evaluators.{name}.loss", True, expected)
