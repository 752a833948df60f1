"""`layer_decay`: how deep each parameter of a backbone lies, and what its rate is scaled by.

Introduced for fine-tuning as discriminative rates (Howard & Ruder 2018, arXiv 1801.06146), used for
vision transformers since BEiT (Bao et al. 2021, arXiv 2106.08254).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from torch import nn

from ..errors import ConfigError, ConfigProblem
from ..models.backbones.base import Backbone
from ..models.ema import EMATeacher
from ..models.networks import Networks

_BEYOND = "<whatever follows the backbone>"
"""A name that no pattern for a backbone's layers matches: timm puts such names last."""

_CONTAINERS = (nn.Sequential, nn.ModuleList)


@dataclass(frozen=True)
class Layer:
    """Where a parameter lies in a backbone.

    Attributes:
        name: Its layer's name: ``layer0`` is the stem.
        scale: What its learning rate is multiplied by: ``decay ** (layers after it)``, in (0, 1].
    """

    name: str
    scale: float


def layers_of(networks: Networks, decay: float, *, key: str) -> dict[str, Layer]:
    """Finds the layers of all backbones: the stem is 0, then each block, then what follows with 1.

    A backbone with timm's method `group_matcher` is divided as timm divides it. The blocks of any
    other are the entries of its outermost ``nn.Sequential`` and ``nn.ModuleList``; what lies before
    them is the stem, what lies after belongs to the last one, and so do layers such as norms, which
    have no weight of two or more dimensions, to the one before.

    Args:
        networks: The networks of a learner.
        decay: The factor from a layer's learning rate to that of the one before, in (0, 1].
        key: The config key of `decay`.

    Returns:
        The layers by parameter name below `networks`; other parameters are not scaled.

    Raises:
        ConfigError: If there is no backbone, or one has no blocks.
    """
    backbones = {name: m for name, m in networks.named_modules() if _is_backbone(name, networks)}
    if not backbones:
        raise ConfigError([ConfigProblem(key, decay, "no network has a backbone; leave it out")])
    found, problems = {}, []
    for path, backbone in backbones.items():
        numbers, count = _numbered(backbone)
        if count < 2:
            kind = type(backbone).__name__
            expected = (
                f"the {kind} has no blocks in order; give it a method group_matcher as timm's"
            )
            problems.append(ConfigProblem(key, decay, expected))
        network = f"{path.split('.')[1]}." if len(backbones) > 1 else ""
        for name, number in numbers.items():
            layer = Layer(f"{network}layer{number}", decay ** (count - number))
            found[f"{path}.{name}"] = layer
    if problems:
        raise ConfigError(problems)
    return {name: layer for name, layer in found.items() if layer.scale != 1}


def _is_backbone(path: str, networks: Networks) -> bool:
    """Whether a module is an outermost backbone of a network that is no teacher."""
    parts = path.split(".")
    if parts[0] != "modules_by_name" or len(parts) < 2:
        return False
    if isinstance(networks.get_submodule(".".join(parts[:2])), EMATeacher):
        return False
    above = [".".join(parts[:count]) for count in range(2, len(parts))]
    return _looks_like_backbone(path, networks) and not any(
        _looks_like_backbone(outer, networks) for outer in above
    )


def _looks_like_backbone(path: str, networks: Networks) -> bool:
    module = networks.get_submodule(path)
    is_named = path.count(".") == 2 and path.endswith(".backbone")
    return is_named or isinstance(module, Backbone) or hasattr(module, "group_matcher")


def _numbered(backbone: nn.Module) -> tuple[dict[str, int], int]:
    """The layer of each parameter of a backbone, and how many layers there are."""
    for path, module in backbone.named_modules():
        if hasattr(module, "group_matcher"):
            numbers, count = _as_timm(module)
            return {f"{path}.{n}" if path else n: k for n, k in numbers.items()}, count
    numbers = _in_order(backbone)
    return numbers, max(numbers.values(), default=-1) + 1


def _as_timm(module: Any) -> tuple[dict[str, int], int]:
    """Timm's layers; what no pattern matches is not scaled, and lies with what follows."""
    from timm.models import group_parameters

    named = [*module.named_parameters(), (_BEYOND, None)]
    # timm asks nothing else of the module.
    listed: Any = SimpleNamespace(named_parameters=lambda: iter(named))
    matcher = module.group_matcher(coarse=False)
    numbers: dict[str, int] = group_parameters(listed, matcher, reverse=True)
    return {n: k for n, k in numbers.items() if n != _BEYOND}, numbers[_BEYOND]


def _in_order(backbone: nn.Module) -> dict[str, int]:
    """Numbers the blocks of a backbone in the order in which it was put together."""
    blocks = dict(_blocks(backbone))
    numbers: dict[str, int] = {}
    number, current = 0, None
    for name, _ in backbone.named_parameters():
        block = next((path for path in blocks if name.startswith(f"{path}.")), None)
        if block != current and block is not None and (_has_weight(blocks[block]) or not numbers):
            number += bool(numbers)
        current = block
        numbers[name] = number
    return numbers


def _blocks(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The entries of the outermost containers, those of containers in them in their place."""
    is_container = type(module) in _CONTAINERS
    for name, child in module.named_children():
        below = f"{path}.{name}" if path else name
        if is_container and type(child) not in _CONTAINERS:
            yield below, child
        else:
            yield from _blocks(child, below)


def _has_weight(module: nn.Module) -> bool:
    return any(parameter.ndim > 1 for parameter in module.parameters())
