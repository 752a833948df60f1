"""A dry run of a step: reports what cannot work, freezes parameters that no loss reaches."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor, nn

from ..errors import ConfigError, ConfigProblem
from ..models.heads.loss.base import Step
from .autograd_graph import graph_leaves
from .outline import is_outline, needs_values
from .reductions import reduce_terms
from .side_effects import without_side_effects
from .step_log import logged_names

if TYPE_CHECKING:
    from .base import Learner
    from .terms import LossTerm

log = logging.getLogger(__name__)


def dry_run(learner: Learner, batch: Mapping[str, Any]) -> None:
    """Runs a step on a few samples, and freezes the parameters that no loss reaches.

    Such parameters (the logits layer where nothing reads logits) would never change, and several
    processes would wait for their gradients in vain. Networks are in evaluation mode; buffers and
    random numbers are put back: nothing is learned or counted.

    Args:
        learner: A learner that has its plan.
        batch: Every field of a step by full name (``"unlabeled.weak"``).

    Raises:
        ConfigError: With every head that fails, or the networks; or if nothing can be learned.
    """
    try:
        with without_side_effects(learner):
            learner.eval()
            losses, problems = _losses_of(learner, batch)
    except _NeedsValuesError as error:
        learner.logged_names.clear()
        _announce_values(str(error))
        return
    if problems:
        raise ConfigError(problems)
    _freeze(learner, _find_unreached(learner, losses, batch))


class _NeedsValuesError(Exception):
    """What of an outline cannot be rehearsed, for it computes with values."""


def _losses_of(
    learner: Learner, batch: Mapping[str, Any]
) -> tuple[list[Tensor], list[ConfigProblem]]:
    """The loss of every head that works, and what is wrong with the others."""
    is_without_values = is_outline(learner)
    assert learner.plan is not None, "make_plan() comes before"
    try:
        outputs_by_head = learner.plan.run(batch)
    except Exception as error:
        if is_without_values and needs_values(error):
            raise _NeedsValuesError("the networks") from error
        if (term := _asking(error, learner)) is not None:
            return [], [_failure(term, error)]
        shapes = _float_shapes(batch)
        expected = f"these samples do not go through its networks: {error}"
        return [], [ConfigProblem(learner.key, shapes, expected)]
    step = Step(0, None, learner.networks, batch)
    losses, problems = [], []
    for name, term in learner.terms.items():
        try:
            outputs = term.head(outputs_by_head[name], step)
            reduced = reduce_terms(outputs, term.reduction)
            losses.append(reduced.loss)
            logged = logged_names(reduced, term.metrics(outputs_by_head[name], outputs))
            learner.logged_names |= {f"train/{name}/{key}" for key in logged}
        except Exception as error:
            if is_without_values and needs_values(error):
                raise _NeedsValuesError(f"the loss head {name!r}") from error
            problems.append(_failure(term, error))
    return losses, problems


def _asking(error: Exception, learner: Learner) -> LossTerm | None:
    """The term whose head has failed in a method that it asked for, such as ``self.judge``."""
    callers = [frame.f_locals.get("self") for frame, _ in walk_tb(error.__traceback__)]
    return next((t for t in learner.terms.values() if any(c is t.head for c in callers)), None)


def _failure(term: LossTerm, error: Exception) -> ConfigProblem:
    expected = f"fails on the first samples: {error}"
    if not isinstance(error, ValueError):  # a mistake in code rather than a setting: where it is
        frames = walk_tb(error.__traceback__)
        own = [place for place in frames if not place[0].f_globals["__name__"].startswith("torch")]
        frame, line = own[-1]
        place = f"{frame.f_code.co_filename}, line {line}"
        expected = f"{expected} ({type(error).__name__} in {place})"
    return ConfigProblem(term.key, type(term.head).__name__, expected)


@rank_zero_only
def _announce_values(what: str) -> None:
    log.warning(
        "run.rehearse=shapes: %s cannot be tried without values, so what cannot work, and "
        "parameters that no loss reaches, show in training; run.rehearse=full tries it with them",
        what,
    )


def _float_shapes(batch: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes of what networks compute with, parts of fields by their dotted names."""
    return {
        name: tuple(value.shape)
        for name, value in batch.items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }


def _find_unreached(
    learner: Learner, losses: list[Tensor], batch: Mapping[str, Any]
) -> dict[str, nn.Parameter]:
    """The trained parameters, by name, that no loss reaches in evaluation or in training mode."""
    unread = _unreached_by(learner, losses)
    if unread:  # some layers, such as auxiliary classifiers, are run in training mode alone
        with without_side_effects(learner):
            learner.train()
            losses, problems = _losses_of(learner, batch)
        if not problems:
            trained = _unreached_by(learner, losses)
            unread = {name: p for name, p in unread.items() if name in trained}
    return unread


def _unreached_by(learner: Learner, losses: list[Tensor]) -> dict[str, nn.Parameter]:
    reached = graph_leaves(losses)
    return {n: p for n, p in learner.named_parameters() if p.requires_grad and id(p) not in reached}


def _freeze(learner: Learner, unread: Mapping[str, nn.Parameter]) -> None:
    if len(unread) == sum(p.requires_grad for p in learner.parameters()):
        expected = "no loss reaches any parameter: give a loss, or networks that are not frozen"
        raise ConfigError([ConfigProblem(learner.key, list(learner.terms), expected)])
    for parameter in unread.values():
        parameter.requires_grad_(False)
    if unread:
        _announce(list(unread))


@rank_zero_only
def _announce(names: list[str]) -> None:
    listed = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    log.warning("no loss reaches %d parameters, which stay as they are: %s", len(names), listed)


def explain_first_calls(learner: Learner) -> None:
    """Has the first step of a learner that was not rehearsed name what fails in it.

    Args:
        learner: A learner that is going to be trained.
    """
    learner.is_rehearsed = False
    for method in ("on_train_batch_start", "training_step"):
        learner.__dict__[method] = partial(_first_call, learner, learner, method)
    learner.evaluated.__dict__["run"] = partial(_first_call, learner, learner.evaluated, "run")


def _first_call(learner: Learner, owner: Any, method: str, *arguments: Any, **named: Any) -> Any:
    """Calls a method, which takes its own place again from then on."""
    del owner.__dict__[method]
    try:
        return getattr(owner, method)(*arguments, **named)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError([_first_problem(learner, arguments[0], error)]) from error


def _first_problem(learner: Learner, batch: Mapping[str, Any], error: Exception) -> ConfigProblem:
    """What failed: the loss head within which an error was raised, or else the networks."""
    callers = [frame.f_locals.get("self") for frame, _ in walk_tb(error.__traceback__)]
    for term in learner.terms.values():
        if any(caller is term.head for caller in callers):
            expected = f"fails on the first batch: {error}"
            return ConfigProblem(term.key, type(term.head).__name__, expected)
    expected = f"the first batch does not go through its networks: {error}"
    return ConfigProblem(learner.key, _float_shapes(batch), expected)
