"""Any model of timm (PyTorch Image Models) as a backbone."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor

from ...errors import suggest
from ..weight_folders import expected_of
from .base import Backbone, feature_shape, reject_head_settings, rejection
from .local_files import Convert, load_local_file
from .pretrained import skips_initial_weights


class PyTorchImageModels(Backbone):
    """A timm model without its classifier.

    Args:
        name: The model, such as ``resnet50d`` or ``vit_small_patch16_224``, with or without a tag
            for its weights; also timm's ``hf-hub:...`` and ``local-dir:...``.
        pretrained: Whether timm downloads the weights it has for this model.
        freeze: Whether the backbone keeps its weights.
        global_pool: How feature maps become features; null is the model's own way.
        drop_rate: Dropout on the features, in [0, 1).
        drop_path_rate: Stochastic depth, in [0, 1); null leaves it out.
        in_chans: Channels of the images.
        img_size: Side of the images, for models that are built for one (transformers).
        checkpoint_path: A local file of the model's weights, or a folder as the hub of models has
            them (``model.safetensors``, also in shards); it takes precedence over `pretrained`. It
            must fit, but for a classifier or decoder in it, which is left out, and position
            embeddings for another `img_size`, which timm resizes.
        adapter: Adapters that are trained in place of the weights, such as ``{kind: lora, rank:
            8}``, see :func:`~sesemi_like.models.backbones.adapters.add_adapters`.
        **settings: Anything else that the model takes.

    Raises:
        ValueError: If the name is unknown, the model refuses a setting or does not pool its
            features, or the weights cannot be had or do not fit.
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
        adapter: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        reject_head_settings(settings)
        options = {
            "global_pool": global_pool,
            "drop_path_rate": drop_path_rate,
            "img_size": img_size,
        }
        settings |= {key: value for key, value in options.items() if value is not None}
        settings |= {"drop_rate": drop_rate, "in_chans": in_chans, "num_classes": 0}
        begins = pretrained or checkpoint_path is not None
        is_left_out = begins and skips_initial_weights()
        downloads = pretrained and checkpoint_path is None and not is_left_out
        self.network = _create(name, downloads, settings)
        size = _image_size(self.network, settings)
        self.out_features = _feature_size(self.network, name, settings, size)
        if is_left_out:
            skips_initial_weights(self.network)
        elif checkpoint_path is not None:
            network = self.network
            load_local_file(network, checkpoint_path, _classifier(network), _conversion(network))
            self.normalization = _normalization(expected_of(checkpoint_path))
        elif pretrained:
            self.normalization = _normalization(self.network.pretrained_cfg)
        if freeze:
            self.freeze()
        self.adapt(adapter, size)

    def forward(self, images: Tensor) -> Tensor:
        """Maps images (N, C, H, W) to features (N, D)."""
        features: Tensor = self.network(images)
        return features


def _create(name: str, pretrained: bool, settings: dict[str, Any]) -> Any:
    import timm

    _check_name(name)
    try:
        return timm.create_model(name, pretrained=pretrained, **settings)
    except (TypeError, ValueError, AssertionError) as error:
        raise ValueError(rejection(name, error)) from None
    except Exception as error:  # What a failed download raises differs between versions.
        if not pretrained:
            raise ValueError(rejection(name, error)) from None
        raise ValueError(
            f"pretrained: the weights of {name!r} could not be had ({type(error).__name__}: "
            f"{error}); give checkpoint_path, a local file, or pretrained: false"
        ) from None


def _check_name(name: str) -> None:
    import timm

    known = {*timm.list_models(), *timm.list_pretrained()}
    if name not in known and not name.startswith(("hf-hub:", "local-dir:")):
        raise ValueError(f"name: found {name!r}; {suggest(name, known, noun='timm models')}")


def _image_size(network: Any, settings: dict[str, Any]) -> tuple[int, int, int]:
    """Channels, height and width of images that a model takes."""
    _, height, width = network.pretrained_cfg.get("input_size", (3, 224, 224))
    if side := settings.get("img_size"):
        height = width = side
    return settings["in_chans"], height, width


def _feature_size(
    network: Any, name: str, settings: dict[str, Any], image_size: tuple[int, int, int]
) -> int:
    """The size D of a model's features; timm's own figure leaves out layers after the pooling."""
    try:
        shape = feature_shape(network, image_size)
    except Exception as error:
        raise ValueError(rejection(name, error)) from None
    if len(shape) != 2:
        raise ValueError(
            f"global_pool: found {settings.get('global_pool')!r}; {name} then returns "
            f"{shape} for an image instead of features (1, D); avg pools them"
        )
    return shape[1]


def _classifier(network: Any) -> tuple[str, ...]:
    """The names of the layers that a model without classifier has lost."""
    names = network.pretrained_cfg.get("classifier") or ()
    return tuple(f"{n}." for n in ([names] if isinstance(names, str) else names))


def _normalization(described: Mapping[str, Any]) -> tuple[list[float], list[float]] | None:
    """Mean and standard deviation of images as timm describes them."""
    mean, std = described.get("mean"), described.get("std")
    return None if mean is None or std is None else (list(mean), list(std))


def _conversion(network: Any) -> Convert | None:
    """Timm's own conversion of other people's files to the names and sizes of a model.

    It is what timm applies to weights that it downloads; its modules have it under this name.
    """
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    return None if convert is None else partial(convert, model=network)
