"""The names of a learner's parameters as users write them, and patterns over them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from torch import nn

from ..errors import ConfigProblem, suggest
from ..models.backbones.base import Backbone
from ..models.ema import EMATeacher
from ..models.name_patterns import matches_name

Names = tuple[str, ...]
"""The names one parameter goes by: the one shown to users first, the one in `state_dict` last."""


def parameter_names(learner: nn.Module) -> dict[str, Names]:
    """Names the parameters of a learner, but for those of EMA teachers, which nothing trains.

    ``networks.modules_by_name.classifier.backbone.network.layer4.0.conv1.weight`` is shown as
    ``classifier.backbone.layer4.0.conv1.weight``, ``loss_terms.rotation.head.linear.weight`` as
    ``rotation.linear.weight``.

    Args:
        learner: A learner that has been built.

    Returns:
        For the name of each parameter in the learner, all names that it goes by.
    """
    modules = dict(learner.named_modules())
    teachers = tuple(f"{name}." for name, m in modules.items() if isinstance(m, EMATeacher))
    wrappers = [f"{name}.network." for name, m in modules.items() if isinstance(m, Backbone)]
    return {
        name: _names_of(name, wrappers)
        for name, _ in learner.named_parameters()
        if not name.startswith(teachers)
    }


def _names_of(name: str, wrappers: Iterable[str]) -> Names:
    below = _below_collections(name)
    wrapper = next((w for w in wrappers if name.startswith(w)), None)
    if wrapper is None:
        return below, name
    inner = wrapper.removesuffix("network.") + name.removeprefix(wrapper)
    return _below_collections(inner), below, name


def _below_collections(name: str) -> str:
    """A name without what a learner keeps its networks and heads in."""
    name = name.removeprefix("networks.modules_by_name.")
    return re.sub(r"^loss_terms\.([^.]+)\.head\.", r"\1.", name)


def matches(pattern: str, names: Names) -> bool:
    """Whether a pattern matches a parameter.

    Args:
        pattern: A glob that matches one of the names, the end of one from a dot on, or a module's
            name that stands for all below it: ``classifier.backbone.*``, ``backbone.layer4``,
            ``*.bias``.
        names: The parameter's names.
    """
    return any(matches_name(pattern, name) for name in names)


def as_patterns(given: str | Iterable[str]) -> list[str]:
    """One pattern or several as a list."""
    return [given] if isinstance(given, str) else list(given)


def unmatched_problems(
    patterns: Iterable[str], names: Mapping[str, Names], key: str
) -> Iterator[ConfigProblem]:
    """Finds patterns that match no parameter.

    Args:
        patterns: The patterns.
        names: See :func:`parameter_names`.
        key: The config key of the patterns.
    """
    for pattern in patterns:
        if not any(matches(pattern, known) for known in names.values()):
            nearest = suggest(pattern, _module_patterns(names), noun="there are")
            yield ConfigProblem(key, pattern, f"it matches no parameter; {nearest}")


def _module_patterns(names: Mapping[str, Names]) -> set[str]:
    """Patterns of the modules down to the third, with and without their network's name."""
    found = set()
    for shown, *_ in names.values():
        parts = shown.split(".")[:-1]
        for count in range(1, min(3, len(parts)) + 1):
            found |= {".".join([*part, "*"]) for part in (parts[:count], parts[1:count]) if part}
    return found
