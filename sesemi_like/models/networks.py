"""Named networks: what a request can be sent through, and how large its features are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..errors import ConfigError, ConfigProblem, suggest
from .backbones.base import Backbone
from .ema import EMATeacher

HEADS = "heads"
"""What the names of loss heads' parts begin with."""


def in_float32(head: nn.Module, features: Tensor) -> Tensor:
    """Calls a head in float32 in a run of mixed precision too.

    Losses of probabilities, and thresholds close to 1, need more than the 8 bits of bfloat16.

    Args:
        head: Maps features (N, D) to logits (N, C).
        features: (N, D), of any floating-point type; cast to that of the head's weights.

    Returns:
        (N, C), float32, or float64 where the head's weights are.
    """
    kind = next((parameter.dtype for parameter in head.parameters()), torch.float32)
    device = "cpu" if features.is_meta else features.device.type  # meta has no autocast to leave
    with torch.autocast(device, enabled=False):
        logits: Tensor = head(features.to(kind))
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


class ClassificationNetwork(nn.Module):
    """A backbone and a head: images (N, ...) to features (N, D) and logits (N, C).

    Args:
        backbone: Maps a batch to features (N, D) and knows ``out_features`` (D).
        head: Maps features (N, D) to logits (N, C).
        num_classes: C; None is the ``out_features`` of the head.

    Attributes:
        num_classes: C; None where the head does not say so either.
        answers_maps: Whether it answers `map` as well, see :meth:`answer_maps`.
    """

    def __init__(
        self, backbone: nn.Module, head: nn.Module, num_classes: int | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.num_classes = num_classes or getattr(head, "out_features", None)
        self.answers_maps = False

    @property
    def out_features(self) -> int:
        """The size D of the features."""
        return int(self.backbone.out_features)  # type: ignore[arg-type]

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """Computes ``{"features": (N, D), "logits": (N, C)}``; logits are float32 throughout."""
        if not self.answers_maps:
            return self.of_features(self.backbone(inputs))
        backbone = cast(Backbone, self.backbone)
        maps = backbone.maps(inputs)
        return {**self.of_features(backbone.pool(maps)), "map": maps}

    def answer_maps(self) -> bool:
        """Has it answer ``"map": (N, D, H, W)`` as well, the features before they are pooled.

        A loss head calls it where it is built, so that no other run keeps maps.

        Returns:
            Whether it will; a backbone that is frozen or has no maps is left as it is.
        """
        backbone = self.backbone
        if isinstance(backbone, Backbone) and backbone.has_maps and not backbone.is_frozen:
            self.answers_maps = True
        return self.answers_maps

    def of_features(self, features: Tensor) -> dict[str, Tensor]:
        """The same for features (N, D) that the backbone has answered before."""
        return {"features": features, "logits": in_float32(self.head, features)}


class UnknownNetworkError(KeyError):
    """A name that is that of no network or head; with those there are."""

    def __str__(self) -> str:
        name, names = self.args
        return f"no network {name!r}; {suggest(name, names, noun='networks')}"


class Networks(nn.Module):
    """The networks of a learner by name.

    A name is a network (``"classifier"``), another name for one (an alias such as ``"backbone"``),
    a part or method of one (``"classifier.head"``, ``"encoder.project"``), of an EMA teacher those
    of the averaged network, or a part or method of a loss head (``"heads.rotation.classifier"``).

    Args:
        networks: The modules by name.
        aliases: Other names for them.

    Attributes:
        heads: The loss heads by name, whose parts can be asked for; they belong to the learner.
    """

    def __init__(
        self, networks: Mapping[str, nn.Module], aliases: Mapping[str, str] | None = None
    ) -> None:
        super().__init__()
        self.modules_by_name = nn.ModuleDict(networks)
        self.aliases = dict(aliases or {})
        self.heads: dict[str, nn.Module] = {}

    def add(self, name: str, network: nn.Module, *, key: str) -> None:
        """Adds a network.

        Args:
            name: Its name.
            network: The network.
            key: The config key that names it.

        Raises:
            ConfigError: If the name is taken, or none that a module can have.
        """
        if name in (*self.names, HEADS) or "." in name or hasattr(self.modules_by_name, name):
            expected = f"needs another name; {', '.join(self.names)} are taken"
            raise ConfigError([ConfigProblem(key, name, expected)])
        self.modules_by_name[name] = network

    @property
    def names(self) -> list[str]:
        """Every name a request may use, methods and parts of networks apart."""
        layers = [
            f"{HEADS}.{head}.{layer}"
            for head, module in self.heads.items()
            for layer, _ in module.named_children()
        ]
        return [*self.modules_by_name, *self.aliases, *layers]

    def canonical(self, name: str) -> str:
        """The same name with an alias replaced by what it stands for."""
        network, dot, method = name.partition(".")
        return self.aliases.get(network, network) + dot + method

    def __contains__(self, name: str) -> bool:
        try:
            return callable(self[name])
        except (KeyError, AttributeError):
            return False

    def __getitem__(self, name: str) -> Callable[..., Any]:
        return self._find(name)[1]

    def module(self, name: str) -> nn.Module:
        """The module behind a name: of a method the module that has it, of a teacher the teacher.

        Raises:
            KeyError: If there is no such network or head.
            AttributeError: If it has no such part.
        """
        return self._find(name)[0]

    def _find(self, name: str) -> tuple[nn.Module, Callable[..., Any]]:
        first, *path = self.canonical(name).split(".")
        known: Mapping[str, nn.Module] = dict(self.modules_by_name.items())
        if first == HEADS and path:
            first, *path = path
            known = self.heads
        if first not in known:
            raise UnknownNetworkError(name, self.names)
        module = known[first]
        found: Any = module
        for part in path:
            found = getattr(found.module if isinstance(found, EMATeacher) else found, part)
            is_deeper = isinstance(found, nn.Module) and not isinstance(module, EMATeacher)
            module = found if is_deeper else module
        return module, found

    def feature_size(self, name: str) -> int:
        """The size D of the features that the network of this name returns.

        Raises:
            AttributeError: If the network does not know its ``out_features``.
        """
        return int(self.module(name).out_features)  # type: ignore[arg-type]

    def num_classes(self, name: str) -> int:
        """How many classes C the logits of the network of this name are of.

        Raises:
            AttributeError: If the network does not know its ``num_classes``.
        """
        return int(self.module(name).num_classes)  # type: ignore[arg-type]
