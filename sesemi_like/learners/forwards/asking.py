"""Every loss head asked for its forwards, and what goes wrong in that collected."""

from __future__ import annotations

from collections.abc import Mapping

from ...errors import ConfigError, ConfigProblem
from ...models.heads.loss.requests import Fields, Forward
from ..terms import LossTerm


def ask(
    terms: Mapping[str, LossTerm], fields: Fields
) -> tuple[dict[str, dict[str, Forward]], list[ConfigProblem]]:
    """Asks the head of every term which forwards it needs.

    Args:
        terms: The loss terms by name.
        fields: The field names of every train loader.

    Returns:
        The requests of every head that answers, and a problem for every one that fails.
    """
    requests: dict[str, dict[str, Forward]] = {}
    problems: list[ConfigProblem] = []
    for name, term in terms.items():
        try:
            requests[name] = dict(term.head.forwards(fields))
        except ConfigError as error:
            problems += error.problems
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            expected = f"cannot say which forwards it needs of these data: {reason}"
            problems.append(ConfigProblem(term.key, type(term.head).__name__, expected))
    return requests, problems
