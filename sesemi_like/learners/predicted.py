"""What is written of the predictions of a batch: outputs by name, or what is made of them.

Shapes: N rows of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..errors import ConfigError, ConfigProblem, suggest
from ..trees import with_parts

_KEY = "run.predict.outputs"


@dataclass(frozen=True)
class Labelled:
    """A column of several values a row, each with a name.

    Attributes:
        values: (N, C).
        labels: C names.
    """

    values: Tensor
    labels: Sequence[str]


Columns = dict[str, Any]
"""Columns by name: tensors (N, ...), :class:`Labelled` ones, or lists of N texts or trees."""


def leaves_of(outputs: Mapping[str, Any]) -> Columns:
    """The parts of outputs by dotted name, without those that have parts themselves.

    Args:
        outputs: Outputs by name, each a tree whose tensors and lists have a row per sample.
    """
    named = with_parts(outputs)
    return {name: value for name, value in named.items() if not isinstance(value, Mapping)}


def choose_columns(columns: Columns, outputs: Mapping[str, Any], chosen: Sequence[str]) -> Columns:
    """Chooses what is written of the predictions of a batch.

    Args:
        columns: What the learner makes of the outputs.
        outputs: The outputs by name.
        chosen: Names of these columns, of outputs, or of parts of outputs; an output of several
            parts is all of them.

    Raises:
        ConfigError: If a name is none of these.
    """
    leaves = leaves_of(outputs)
    result: Columns = {}
    for name in chosen:
        found = {n: v for n, v in columns.items() if n == name}
        found = found or {n: v for n, v in leaves.items() if n == name or n.startswith(f"{name}.")}
        if not found:
            known = [*columns, *outputs, *(leaf for leaf in leaves if leaf not in outputs)]
            expected = f"no such output; {suggest(name, known, noun='outputs')}"
            raise ConfigError([ConfigProblem(_KEY, name, expected)])
        result |= found
    return result


def outputs_read(possible: Sequence[str], chosen: Sequence[str] | None) -> list[str]:
    """Names the outputs that the chosen columns are made of.

    Args:
        possible: The outputs that the data allow.
        chosen: As for :func:`choose_columns`; None is what the learner names, of the last output.
    """
    named = {name.partition(".")[0] for name in chosen or ()}
    return [name for name in possible if name in named or name == possible[-1]]


def column_problems(columns: Columns, num_rows: int) -> list[ConfigProblem]:
    """Finds columns that have no row for each sample.

    Args:
        columns: The columns of a batch.
        num_rows: The samples of the batch.
    """
    problems = []
    for name, column in columns.items():
        values = column.values if isinstance(column, Labelled) else column
        is_scalar = isinstance(values, Tensor) and values.ndim == 0
        if is_scalar or not isinstance(values, Tensor | list) or len(values) != num_rows:
            found = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            expected = f"it is {found} for {num_rows} samples; needs a row for each"
            problems.append(ConfigProblem(_KEY, name, expected))
    if not columns:
        problems.append(ConfigProblem(_KEY, None, "the learner names no outputs to be written"))
    return problems
