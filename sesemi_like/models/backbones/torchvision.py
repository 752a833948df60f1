"""Any classification model of torchvision as a backbone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ...errors import suggest
from .base import Backbone, reject_head_settings, rejection
from .pretrained import skips_initial_weights

_WITH_WEIGHTS = {"transform_input": True, "init_weights": False}
_IMPLIED = {"googlenet": _WITH_WEIGHTS, "inception_v3": _WITH_WEIGHTS}
"""Settings that torchvision implies by weights: without weights they build the same network."""


class TorchvisionModels(Backbone):
    """A torchvision classification model without its last linear layer.

    Args:
        name: The model, such as ``resnet18`` or ``convnext_tiny``.
        weights: The weights torchvision downloads, such as ``DEFAULT``; null draws them.
        freeze: Whether the backbone keeps its weights.
        adapter: Adapters that are trained in place of the weights, such as ``{kind: lora, rank:
            8}``, see :func:`~sesemi_like.models.backbones.adapters.add_adapters`.
        **settings: Anything else that the model takes.

    Raises:
        ValueError: If the name is unknown, the model refuses a setting, the weights cannot be had,
            or the model does not end in a linear layer.
    """

    def __init__(
        self,
        name: str,
        weights: str | None = None,
        freeze: bool = False,
        adapter: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        reject_head_settings(settings)
        is_left_out = weights is not None and skips_initial_weights()
        if is_left_out:
            settings = {**_IMPLIED.get(name, {}), **settings}
        self.network = _create(name, weights, settings, is_left_out=is_left_out)
        if is_left_out:
            skips_initial_weights(self.network)
        _cut_auxiliaries(self.network)
        self.out_features = _cut_classifier(self.network, name)
        if freeze:
            self.freeze()
        side = settings.get("image_size", 224)
        self.adapt(adapter, (3, side, side))

    def forward(self, images: Tensor) -> Tensor:
        """Maps images (N, C, H, W) to features (N, D)."""
        features: Tensor = self.network(images)
        return features


def _create(
    name: str, weights: str | None, settings: dict[str, Any], *, is_left_out: bool
) -> nn.Module:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise ValueError(f"name: found {name!r}; {suggest(name, known, noun='torchvision models')}")
    try:
        if is_left_out:
            models.get_model_weights(name)[str(weights)]  # a wrong name is a mistake all the same
        used = None if is_left_out else weights
        network: nn.Module = models.get_model(name, weights=used, **settings)
    except KeyError:
        offered = models.get_model_weights(name).__members__
        choice = suggest(str(weights), offered, noun=f"weights of {name}")
        raise ValueError(f"weights: found {weights!r}; {choice}") from None
    except OSError as error:
        raise ValueError(
            f"weights: {weights!r} of {name} could not be had ({type(error).__name__}: {error}); "
            "give weights: null"
        ) from None
    except Exception as error:  # Each model checks its settings in its own way.
        raise ValueError(rejection(name, error)) from None
    return network


def _cut_auxiliaries(network: nn.Module) -> None:
    """Removes the auxiliary classifiers that Inception and GoogLeNet apply in training mode."""
    if getattr(network, "aux_logits", False):
        network.aux_logits = False  # type: ignore[assignment]
        for name in ("AuxLogits", "aux1", "aux2"):
            if hasattr(network, name):
                setattr(network, name, None)


def _cut_classifier(network: nn.Module, name: str) -> int:
    """Replaces the last linear layer by an identity; returns how many features it took."""
    linear = [(path, m) for path, m in network.named_modules() if isinstance(m, nn.Linear)]
    if not linear:
        raise ValueError(f"name: {name!r} does not end in a linear layer; choose another model")
    path, layer = linear[-1]
    parent, _, child = path.rpartition(".")
    setattr(network.get_submodule(parent), child, nn.Identity())
    return layer.in_features
