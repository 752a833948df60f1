"""Adapters: a frozen backbone learns through few new parameters, as the library `peft` builds them.

LoRA: Hu et al. 2021, arXiv 2106.09685. (IA)3: Liu et al. 2022, arXiv 2205.05638. LoKr: Yeh et al.
2023, arXiv 2309.14859.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ...errors import suggest
from ..freezing import freeze
from ..name_patterns import matches_name

INSTALL = "python -m pip install peft"


@dataclass(frozen=True)
class _Kind:
    """A kind of adapter.

    Attributes:
        config: The class of peft that describes it.
        settings: What is given if nothing else is, by our name, and what peft calls it.
        patterns: Its settings that name layers, beside `target_modules`.
    """

    config: str
    settings: Mapping[str, tuple[str, Any]]
    patterns: tuple[str, ...] = ()


KINDS: Mapping[str, _Kind] = {
    "lora": _Kind(
        "LoraConfig",
        {"rank": ("r", 8), "alpha": ("lora_alpha", 16), "dropout": ("lora_dropout", 0.0)},
    ),
    "ia3": _Kind("IA3Config", {"feedforward_modules": ("feedforward_modules", [])},
                 ("feedforward_modules",)),
    "lokr": _Kind(
        "LoKrConfig",
        {"rank": ("r", 8), "alpha": ("alpha", 8), "dropout": ("module_dropout", 0.0)},
    ),
}  # fmt: skip
"""The kinds of adapters by name."""

_OWN = ("kind", "target_modules", "norms")


def add_adapters(
    network: nn.Module, settings: Mapping[str, Any], image_size: tuple[int, int, int]
) -> None:
    """Freezes a network and puts adapters beside its layers, which then learn in their place.

    Before training the network computes what it did. A layer ``fc`` keeps its weight as
    ``fc.base_layer.weight``.

    Args:
        network: The network, with its weights; it is changed in place.
        settings: `kind`, one of :data:`KINDS`; `target_modules`, patterns over the names of layers
            (null: all linear layers, of a network without them all convolutions that are not
            grouped); `norms`, whether norms are trained as well; the settings of the kind, and
            anything else that peft's config of the kind takes.
        image_size: Channels, height and width of images that the network takes.

    Raises:
        ValueError: If peft is not installed, a setting is unknown or not possible, or a pattern
            matches no layer that could have an adapter.
    """
    peft = _peft()
    kind = _kind(settings)
    config = getattr(peft, kind.config)
    given = _renamed(settings, kind, config)
    targets = _targets(network, settings.get("target_modules"), image_size)
    given["target_modules"] = _exactly(targets)
    for name in kind.patterns:
        given[name] = _exactly(_matching(given[name], targets, name)) if given[name] else []
    try:
        peft.inject_adapter_in_model(config(**given), network)
    except (TypeError, ValueError) as error:
        raise ValueError(f"adapter: peft's {kind.config} refused its settings: {error}") from None
    _set_norms(network, trains=bool(settings.get("norms")))


def merge_adapters(module: nn.Module) -> int:
    """Merges all adapters into the layers they are beside, which take their place again.

    The outputs in evaluation mode stay as they are, and all names are those of a network that never
    had adapters. What was frozen stays so.

    Args:
        module: A network, backbone or whole learner; it is changed in place.

    Returns:
        How many layers had one.
    """
    if not _may_have_adapters(module):
        return 0
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [(n, m) for n, m in module.named_modules() if isinstance(m, BaseTunerLayer)]
    for name, layer in layers:
        base: Any = layer.get_base_layer()
        for key, parameter in base.named_parameters(recurse=False):
            # An EMA teacher may share it, and has adapters of its own to merge.
            own = nn.Parameter(parameter.detach().clone(), requires_grad=parameter.requires_grad)
            setattr(base, key, own)
        layer.merge(safe_merge=True)
        parent, _, child = name.rpartition(".")
        setattr(module.get_submodule(parent), child, base)
    return len(layers)


def _may_have_adapters(module: nn.Module) -> bool:
    return any(name.endswith(".base_layer") for name, _ in module.named_modules())


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise ValueError(
            f"adapter: needs the library peft, which cannot be imported ({error}); "
            f"install it with `{INSTALL}`"
        ) from None
    return peft


def _kind(settings: Mapping[str, Any]) -> _Kind:
    if not isinstance(settings, Mapping):
        raise ValueError(f"adapter: found {settings!r}; needs a mapping such as {{kind: lora}}")
    kind = settings.get("kind")
    if kind not in KINDS:
        raise ValueError(f"adapter.kind: found {kind!r}; {suggest(str(kind), KINDS, noun='kinds')}")
    return KINDS[str(kind)]


def _renamed(settings: Mapping[str, Any], kind: _Kind, config: Any) -> dict[str, Any]:
    """The settings under peft's names."""
    known = {field.name for field in dataclasses.fields(config)} - {"target_modules"}
    known -= {theirs for theirs, _ in kind.settings.values()}
    given = {theirs: default for theirs, default in kind.settings.values()}
    for name, value in settings.items():
        if name in kind.settings:
            given[kind.settings[name][0]] = value
        elif name in known:
            given[name] = value
        elif name not in _OWN:
            nearest = suggest(name, {*known, *kind.settings, *_OWN}, noun="settings")
            raise ValueError(f"adapter.{name}: found {value!r}; no such setting; {nearest}")
    return given


def _targets(
    network: nn.Module, patterns: str | Iterable[str] | None, image_size: tuple[int, int, int]
) -> list[str]:
    """The names of the layers that are adapted."""
    called = _called_layers(network, image_size)
    if patterns is not None:
        return _matching(patterns, called, "target_modules")
    linear = [name for name in called if isinstance(network.get_submodule(name), nn.Linear)]
    convolutions = [n for n in called if getattr(network.get_submodule(n), "groups", 0) == 1]
    return linear or convolutions


def _matching(given: str | Iterable[str], names: Collection[str], key: str) -> list[str]:
    patterns = [given] if isinstance(given, str) else list(given)
    for pattern in patterns:
        if not any(matches_name(pattern, name) for name in names):
            ends = {".".join(name.split(".")[-2:]) for name in names}
            raise ValueError(
                f"adapter.{key}: {pattern!r} matches no linear layer or convolution that the "
                f"network calls; {suggest(pattern, ends, noun='there are')}"
            )
    return [name for name in names if any(matches_name(p, name) for p in patterns)]


@torch.no_grad()
def _called_layers(network: nn.Module, image_size: tuple[int, int, int]) -> list[str]:
    """The linear layers and convolutions that a network calls.

    An adapter beside another, whose weight is read by the layer around it as in torch's
    MultiheadAttention, would change nothing.
    """
    layers = {n: m for n, m in network.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    outline, called = copy.deepcopy(network).to("meta").eval(), set[str]()
    for name in layers:
        outline.get_submodule(name).register_forward_hook(lambda *_, n=name: called.add(n))
    try:
        outline(torch.zeros(1, *image_size, device="meta"))
    except Exception:  # It takes other inputs, or computes with values.
        return list(layers)
    return [name for name in layers if name in called]


def _exactly(names: Iterable[str]) -> str:
    """What peft takes for these names and no others: a string is a regular expression to it."""
    return "|".join(re.escape(name) for name in names)


def _set_norms(network: nn.Module, *, trains: bool) -> None:
    """Trains norms, or has them stay with their running statistics."""
    for module in network.modules():
        own = list(module.parameters(recurse=False))
        is_norm = "norm" in type(module).__name__.lower() and all(p.ndim == 1 for p in own)
        if is_norm and trains:
            for parameter in own:
                parameter.requires_grad_(True)
        elif is_norm and getattr(module, "running_mean", None) is not None:
            freeze(module)
