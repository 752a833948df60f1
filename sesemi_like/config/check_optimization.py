"""Checks of what any learner's optimizer trains and how: `trainable`, `param_groups`, decays."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import ConfigProblem, suggest
from .rules import exclusive

DEFAULT_GROUP = "default"
"""The name of the parameters that no group matches."""

GROUP_KEYS = ("match", "lr", "lr_scale", "weight_decay")
"""The keys of a group, as in the struct `ParamGroupConfig`."""

_NAME = re.compile(r"[A-Za-z0-9_-]+")


def optimization_problems(hparams: Mapping[str, Any], key: str) -> Iterator[ConfigProblem]:
    """Checks the keys of the base learner that say what is trained and with which settings.

    Args:
        hparams: The hyperparameters of any learner.
        key: Their dotted key.
    """
    trainable = hparams.get("trainable")
    if trainable is not None and not _is_patterns(trainable):
        expected = "needs a pattern over parameter names or a list of them; null trains all"
        yield ConfigProblem(f"{key}.trainable", trainable, expected)
    groups = hparams.get("param_groups")
    if groups is not None and not isinstance(groups, Mapping):
        expected = "needs groups by name: {backbone: {match: backbone.*, lr_scale: 0.1}}"
        yield ConfigProblem(f"{key}.param_groups", groups, expected)
    elif groups:
        for name, group in groups.items():
            yield from _group_problems(str(name), group, f"{key}.param_groups.{name}")
    factor = hparams.get("layer_decay")
    if factor is not None and not (_is_number(factor) and 0 < factor <= 1):
        yield ConfigProblem(f"{key}.layer_decay", factor, "must lie in (0, 1]; null trains alike")
    is_kept = hparams.get("no_decay_1d")
    if not isinstance(is_kept, bool | None):
        yield ConfigProblem(f"{key}.no_decay_1d", is_kept, "must be true or false")


def _group_problems(name: str, group: Any, key: str) -> Iterator[ConfigProblem]:
    if group is None:  # switched off
        return
    if name == DEFAULT_GROUP or not _NAME.fullmatch(name):
        expected = f"needs a name of letters, digits, - and _ other than {DEFAULT_GROUP!r}"
        yield ConfigProblem(key, name, expected)
    if not isinstance(group, Mapping):
        yield ConfigProblem(key, group, "needs `match`, and `lr`, `lr_scale` or `weight_decay`")
        return
    for unknown in set(map(str, group)) - set(GROUP_KEYS):
        yield ConfigProblem(f"{key}.{unknown}", group[unknown], suggest(unknown, GROUP_KEYS))
    match = _value(group, "match")
    if match is None or not _is_patterns(match):
        expected = "needs a pattern over parameter names or a list of them"
        yield ConfigProblem(f"{key}.match", match, expected)
    numbers = {name: _value(group, name) for name in GROUP_KEYS if name != "match"}
    yield from exclusive(numbers, key, ("lr", "lr_scale"))
    for setting, value in numbers.items():
        if value is not None and not (_is_number(value) and value >= 0):
            yield ConfigProblem(f"{key}.{setting}", value, "must be a number of at least 0")
    if all(value is None for value in numbers.values()):
        yield ConfigProblem(key, None, "changes nothing: give lr, lr_scale or weight_decay")


def _value(group: Mapping[str, Any], name: str) -> Any:
    """A value of a group; None where it is absent or ``???``."""
    try:
        return group.get(name)
    except Exception:  # OmegaConf's error of a missing value, which is reported elsewhere as well
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_patterns(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value)
    is_list = not isinstance(value, Mapping) and hasattr(value, "__iter__")
    return is_list and bool(items := list(value)) and all(isinstance(i, str) and i for i in items)
