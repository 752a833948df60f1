"""From what the loss heads of a learner ask for to the plan of its steps, or to what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..models.heads.loss.base import Fields
from .averages import average_problems
from .forwards import ForwardPlan, ask, request_problems
from .passes import pass_problems

if TYPE_CHECKING:
    from .base import Learner


def plan_steps(learner: Learner, fields: Fields) -> ForwardPlan:
    """Plans what a step runs, every request by itself.

    Args:
        learner: A learner that has its networks.
        fields: The field names of every train loader.

    Raises:
        ConfigError: If heads ask for fields, networks or passes that do not exist, or the schedule
            of a weight or an average does not work; all are listed.
    """
    terms = learner.terms
    requests, problems = ask(terms, fields)
    keys = {name: term.key for name, term in terms.items()}
    heads = {name: term.head for name, term in terms.items()}
    known: dict[str, Any] = {
        "heads": heads,
        "functions": learner.functions(),
        "given": learner.given(fields),
    }
    problems += request_problems(requests, fields, learner.networks, keys, **known)
    problems += [problem for term in terms.values() for problem in term.problems()]
    problems += average_problems(learner)
    problems += pass_problems(terms, learner.data_facts.rows, fields)
    if problems:
        raise ConfigError(problems)
    return ForwardPlan(requests, learner.networks, **known)
