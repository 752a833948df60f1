"""Any model of timm (PyTorch Image Models) as a backbone."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import near
from .base import Backbone

log = logging.getLogger(__name__)


class PyTorchImageModels(Backbone):
    """A timm model without its classifier.

    Args:
        name: The model, such as ``resnet50d`` or ``vit_small_patch16_224``.
        pretrained: Whether timm downloads the weights it has for this model.
        freeze: Whether the backbone keeps its weights.
        global_pool: How feature maps become features; null is the model's own way.
        drop_rate: Dropout on the features, in [0, 1).
        drop_path_rate: Stochastic depth, in [0, 1); null leaves it out.
        in_chans: Channels of the images.
        img_size: Side of the images, for models that are built for one (transformers).
        checkpoint_path: A local file of weights; it goes before `pretrained`.
        **settings: Anything else that the model takes.

    Raises:
        ValueError: If the name is unknown, the model refuses a setting, or the weights cannot be
            had or do not fit.
    """

    def __init__(
        self,
        name: str,
        pretrained: bool = False,
        freeze: bool = False,
        global_pool: str | None = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float | None = None,
        in_chans: int = 3,
        img_size: int | None = None,
        checkpoint_path: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        options = {
            "global_pool": global_pool,
            "drop_path_rate": drop_path_rate,
            "img_size": img_size,
        }
        settings |= {key: value for key, value in options.items() if value is not None}
        settings |= {"drop_rate": drop_rate, "in_chans": in_chans, "num_classes": 0}
        self.network = _create(name, pretrained and checkpoint_path is None, settings)
        self.out_features = int(self.network.num_features)
        if checkpoint_path is not None:
            _load(self.network, checkpoint_path)
        if freeze:
            self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        """Maps images (N, C, H, W) to features (N, D)."""
        features: Tensor = self.network(images)
        return features


def _create(name: str, pretrained: bool, settings: dict[str, Any]) -> Any:
    import timm

    known = timm.list_models()
    if name.split(".")[0] not in known:
        raise ValueError(f"name: found {name!r}; {near(name, known, noun='timm models')}")
    try:
        return timm.create_model(name, pretrained=pretrained, **settings)
    except TypeError as error:
        raise ValueError(f"{name} does not take these settings: {error}") from error
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise ValueError(
            f"pretrained: the weights of {name!r} could not be had ({error}); "
            "give checkpoint_path, a local file, or pretrained: false"
        ) from error


def _load(network: torch.nn.Module, path: str) -> None:
    """Loads a local file of weights; a classifier in it is left out and named."""
    if not Path(path).is_file():
        raise ValueError(f"checkpoint_path: found {path!r}; there is no such file")
    given, own = _read(path), network.state_dict()
    fits = {n: t for n, t in given.items() if n in own and own[n].shape == t.shape}
    if set(own) - set(fits):
        lacking = ", ".join(sorted(set(own) - set(fits))[:5])
        raise ValueError(f"checkpoint_path: {path!r} has no fitting weights for {lacking}")
    network.load_state_dict(fits)
    if left_out := sorted(set(given) - set(fits)):
        log.info("%s: left out %s", path, ", ".join(left_out[:5]))


def _read(path: str) -> dict[str, Tensor]:
    if path.endswith(".safetensors"):
        from safetensors.torch import load_file

        return dict(load_file(path))
    content: Any = torch.load(path, map_location="cpu", weights_only=True)
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}
