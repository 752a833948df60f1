"""Parameter groups: `param_groups`, `no_decay_1d` and `layer_decay` as groups of an optimizer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..config.check_optimization import DEFAULT_GROUP
from ..errors import ConfigError, ConfigProblem
from .layer_decay import Layer, layers_of
from .parameter_names import as_patterns, matches, parameter_names, unmatched_problems

if TYPE_CHECKING:
    from .base import Learner

_NO_DECAY = ".no_decay"

SETTINGS = ("param_groups", "no_decay_1d", "layer_decay")
"""The hyperparameters that divide what is trained into groups."""


@dataclass
class ParamGroup:
    """Parameters that an optimizer trains alike.

    Attributes:
        name: The name in `param_groups`, and of which part of it: ``backbone.layer3.no_decay``.
        lr: The learning rate before `scale`; None is the optimizer's.
        scale: What the learning rate is multiplied by.
        weight_decay: The weight decay; None is the optimizer's.
        params: The parameters.
    """

    name: str
    lr: float | None = None
    scale: float = 1.0
    weight_decay: float | None = None
    params: list[nn.Parameter] = field(default_factory=list)


def parameter_groups(learner: Learner) -> list[ParamGroup]:
    """Divides the parameters that are trained, the default group first.

    Args:
        learner: A learner that has been built.

    Returns:
        The groups; a single one where none of :data:`SETTINGS` asks for more.

    Raises:
        ConfigError: If a group matches no parameter, or `layer_decay` finds no blocks.
    """
    settings, trained = learner.settings, {n: p for n, p in learner.named_parameters()}
    trained = {name: p for name, p in trained.items() if p.requires_grad}
    given = {n: g for n, g in (settings.get("param_groups") or {}).items() if g is not None}
    if not given and not settings.get("no_decay_1d") and settings.get("layer_decay") is None:
        return [ParamGroup(DEFAULT_GROUP, params=list(trained.values()))]
    group_of, layers = _group_names(learner, given), _layers(learner)
    groups: dict[str, ParamGroup] = {}
    for name, parameter in trained.items():
        group = group_of.get(name, DEFAULT_GROUP)
        is_undecayed = bool(settings.get("no_decay_1d")) and parameter.ndim < 2
        made = _make(group, given.get(group, {}), layers.get(name), is_undecayed=is_undecayed)
        groups.setdefault(made.name, made).params.append(parameter)
    places = {name: place for place, name in enumerate([DEFAULT_GROUP, *given])}
    return sorted(groups.values(), key=lambda g: (places[g.name.partition(".")[0]], -g.scale))


def _make(
    name: str, given: Mapping[str, Any], layer: Layer | None, *, is_undecayed: bool
) -> ParamGroup:
    """An empty group for parameters of these properties."""
    scale, decay = given.get("lr_scale"), given.get("weight_decay")
    full = name + (f".{layer.name}" if layer else "") + (_NO_DECAY if is_undecayed else "")
    return ParamGroup(
        full,
        lr=given.get("lr"),
        scale=(1.0 if scale is None else scale) * (layer.scale if layer else 1.0),
        weight_decay=0.0 if is_undecayed else decay,
    )


def _group_names(learner: Learner, given: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The group of each parameter that one matches; the first that does has it."""
    names, key = parameter_names(learner), f"{learner.key}.param_groups"
    patterns = {group: as_patterns(settings["match"]) for group, settings in given.items()}
    problems = [
        problem
        for group, listed in patterns.items()
        for problem in unmatched_problems(listed, names, f"{key}.{group}.match")
    ]
    if problems:
        raise ConfigError(problems)
    found: dict[str, str] = {}
    for group, listed in patterns.items():
        for name, known in names.items():
            if any(matches(pattern, known) for pattern in listed):
                found.setdefault(name, group)
    return found


def _layers(learner: Learner) -> dict[str, Layer]:
    decay = learner.settings.get("layer_decay")
    if decay is None:
        return {}
    layers = layers_of(learner.networks, decay, key=f"{learner.key}.layer_decay")
    return {f"networks.{name}": layer for name, layer in layers.items()}


def as_arguments(groups: list[ParamGroup]) -> list[Any]:
    """What an optimizer is given: the parameters of a single group, or groups with their names."""
    if len(groups) == 1 and groups[0] == ParamGroup(DEFAULT_GROUP, params=groups[0].params):
        return list(groups[0].params)
    return [_as_argument(group) for group in groups]


def _as_argument(group: ParamGroup) -> dict[str, Any]:
    decay = {} if group.weight_decay is None else {"weight_decay": group.weight_decay}
    return {"params": group.params, "name": group.name, **decay}


def set_rates(optimizer: torch.optim.Optimizer, groups: list[ParamGroup], *, key: str) -> None:
    """Sets the learning rate of each group, of which some are multiples of the optimizer's.

    Args:
        optimizer: Built of :func:`as_arguments`.
        groups: The groups it was built of.
        key: The config key of the optimizer.

    Raises:
        ConfigError: If the optimizer has no setting that a group changes.
    """
    if problems := list(_setting_problems(optimizer, groups, key)):
        raise ConfigError(problems)
    for built, group in zip(optimizer.param_groups, groups, strict=True):
        if group.lr is not None or group.scale != 1:
            built["lr"] = (built["lr"] if group.lr is None else group.lr) * group.scale


def _setting_problems(
    optimizer: torch.optim.Optimizer, groups: list[ParamGroup], key: str
) -> Iterator[ConfigProblem]:
    changed = {
        "lr": any(group.lr is not None or group.scale != 1 for group in groups),
        "weight_decay": any(group.weight_decay is not None for group in groups),
    }
    kind = type(optimizer).__name__
    for setting, is_changed in changed.items():
        if is_changed and optimizer.defaults.get(setting) is None:
            expected = f"it has no {setting} that parameter groups could differ in"
            yield ConfigProblem(key, kind, expected)


def learning_rates(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The learning rates to log.

    Args:
        optimizer: An optimizer of a learner.

    Returns:
        ``lr``, that of the first group, and ``lr/<group>`` for each other one; groups that differ
        in their weight decay alone count as one.
    """
    first, *others = optimizer.param_groups
    rates = {"lr": first["lr"]}
    for group in others:
        name = _shown(group)
        if name != _shown(first):
            rates.setdefault(f"lr/{name}", group["lr"])
    return rates


def _shown(group: Mapping[str, Any]) -> str:
    return str(group.get("name", DEFAULT_GROUP)).removesuffix(_NO_DECAY)
