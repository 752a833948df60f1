"""Parts that several loss heads hold: of one name there is one, registered once."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from ..errors import ConfigProblem, Problems
from .terms import LossTerm


def share_parts(terms: Mapping[str, LossTerm]) -> dict[str, nn.Module]:
    """Gives heads that declare parts of one name the same part, that of the first.

    Args:
        terms: The loss terms, whose heads are built; what their heads hold is replaced.

    Returns:
        The parts by name, for the learner to register.

    Raises:
        ConfigError: If parts of one name differ in class or in the shape or type of a tensor.
    """
    parts: dict[str, nn.Module] = {}
    problems = Problems()
    for term in terms.values():
        for name, part in term.head.shared.items():
            kept = parts.setdefault(name, part)
            if _describe(kept) != _describe(part):
                expected = f"another head shares a part of this name: {_describe(kept)}"
                found = f"{name}: {_describe(part)}"
                problems.problems.append(ConfigProblem(term.key, found, expected))
            term.head.shared[name] = kept
    problems.raise_if_any()
    return parts


def _describe(part: nn.Module) -> str:
    """Names the class and the tensors of a part."""
    tensors = (
        f"{name} {tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
        for name, value in part.state_dict().items()
    )
    return f"{type(part).__name__}({', '.join(tensors)})"
