"""Named networks: what a request can be sent through, and how large its features are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def in_float32(head: nn.Module, features: Tensor) -> Tensor:
    """Calls a head in float32 in a run of mixed precision too.

    Losses of probabilities, and thresholds close to 1, need more than the 8 bits of bfloat16.

    Args:
        head: Maps features (N, D) to logits (N, C).
        features: (N, D), of any floating-point type; cast to that of the head's weights.
    """
    kind = next((parameter.dtype for parameter in head.parameters()), torch.float32)
    with torch.autocast(features.device.type, enabled=False):
        logits: Tensor = head(features.to(kind))
    return logits.float()


class ClassificationNetwork(nn.Module):
    """A backbone and a head: images (N, ...) to features (N, D) and logits (N, C).

    Args:
        backbone: Maps a batch to features (N, D) and knows ``out_features`` (D).
        head: Maps features (N, D) to logits (N, C).
    """

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    @property
    def out_features(self) -> int:
        """The size D of the features."""
        return int(self.backbone.out_features)  # type: ignore[arg-type]

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """Computes ``{"features": (N, D), "logits": (N, C)}``; logits are float32 throughout."""
        features = self.backbone(inputs)
        return {"features": features, "logits": in_float32(self.head, features)}


class Networks(nn.Module):
    """The networks of a learner by name.

    A name is a network (``"classifier"``), another name for one (an alias such as ``"backbone"``),
    or a method of one (``"encoder.project"``).

    Args:
        networks: The modules by name.
        aliases: Other names for them.
    """

    def __init__(
        self, networks: Mapping[str, nn.Module], aliases: Mapping[str, str] | None = None
    ) -> None:
        super().__init__()
        self.modules_by_name = nn.ModuleDict(networks)
        self.aliases = dict(aliases or {})

    @property
    def names(self) -> list[str]:
        """Every name a request may use, methods apart."""
        return [*self.modules_by_name, *self.aliases]

    def canonical(self, name: str) -> str:
        """The same name with an alias replaced by what it stands for."""
        network, dot, method = name.partition(".")
        return self.aliases.get(network, network) + dot + method

    def __contains__(self, name: str) -> bool:
        network, _, method = self.canonical(name).partition(".")
        if network not in self.modules_by_name:
            return False
        return not method or callable(getattr(self.modules_by_name[network], method, None))

    def __getitem__(self, name: str) -> Callable[..., Any]:
        network, _, method = self.canonical(name).partition(".")
        module = self.modules_by_name[network]
        return getattr(module, method) if method else module

    def module(self, name: str) -> nn.Module:
        """The module behind a name; of a method's name, the module that has the method."""
        return self.modules_by_name[self.canonical(name).partition(".")[0]]

    def feature_size(self, name: str) -> int:
        """The size D of the features that the network of this name returns.

        Raises:
            AttributeError: If the network does not know its ``out_features``.
        """
        return int(self.module(name).out_features)  # type: ignore[arg-type]
