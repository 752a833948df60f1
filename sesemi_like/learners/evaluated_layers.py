"""Layers that are evaluated as classifiers of another network's features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, ConfigProblem, suggest
from ..models.heads.loss.base import Forward
from ..models.networks import Networks

AS_LOGITS = "as_logits"
"""The function that requests go through to have what a layer answers taken for logits."""

_TAKEN = ("model", "ema")


def as_logits(logits: Tensor, num_classes: int) -> dict[str, Tensor]:
    """Answers as a classifier does: ``{"logits": (N, C)}`` in float32 or better.

    Args:
        logits: (N, C).
        num_classes: C.

    Raises:
        ValueError: If they have another shape.
    """
    if logits.shape[1:] != (num_classes,):
        found = tuple(logits.shape[1:])
        raise ValueError(f"model.evaluated: a layer answers {found} a row, not ({num_classes},)")
    return {"logits": logits.to(torch.promote_types(logits.dtype, torch.float32))}


def evaluated_layers(
    config: Mapping[str, Any], field: str, networks: Networks, *, key: str
) -> dict[str, Forward]:
    """The requests of layers that map features to logits.

    Args:
        config: By name a layer, on the features of `classifier`, or a list of the network that
            answers `features` and the layer; null switches one off.
        field: The batch field that is evaluated.
        networks: The networks and heads there are.
        key: The config key of all.

    Raises:
        ConfigError: With every entry that is no such thing.
    """
    problems, requests = [], {}
    for name, entry in config.items():
        if entry is None:
            continue
        chain = ["classifier", entry] if isinstance(entry, str) else entry
        if problem := _problem_of(name, chain, networks, f"{key}.{name}"):
            problems.append(problem)
            continue
        network, layer = chain
        features = Forward(field, network, grad=False).part("features")
        requests[name] = Forward(Forward(features, layer), AS_LOGITS, grad=False)
    if problems:
        raise ConfigError(problems)
    return requests


def _problem_of(name: str, chain: Any, networks: Networks, key: str) -> ConfigProblem | None:
    if name in _TAKEN:
        return ConfigProblem(key, name, f"needs another name; {', '.join(_TAKEN)} are taken")
    if not (isinstance(chain, list) and len(chain) == 2 and all(isinstance(x, str) for x in chain)):
        return ConfigProblem(key, chain, "needs a layer's name, or [network, layer]")
    for through in chain:
        if through not in networks:
            known = suggest(through, networks.names, noun="networks")
            return ConfigProblem(key, through, f"no such network; {known}")
    return None
