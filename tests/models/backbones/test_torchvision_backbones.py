"""torchvision's models as backbones: features without the classifier, and clear refusals."""

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from torchvision import models

from sesemi_like.config.instantiate import instantiate
from sesemi_like.errors import ConfigError
from sesemi_like.models.backbones import TorchvisionModels


def problem(**settings: Any) -> str:
    """What a user is reported about a backbone that cannot be built from a config."""
    target = "sesemi_like.models.backbones.TorchvisionModels"
    with pytest.raises(ConfigError) as caught:
        instantiate(OmegaConf.create({"_target_": target, **settings}), key="backbone")
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "size"),
    [("resnet18", 512), ("mobilenet_v3_small", 1024), ("shufflenet_v2_x0_5", 1024)],
)
def test_features_are_what_the_last_linear_layer_takes(name: str, size: int) -> None:
    torch.manual_seed(0)
    backbone = TorchvisionModels(name).eval()
    torch.manual_seed(0)
    whole = models.get_model(name, weights=None).eval()
    linear = [module for module in whole.modules() if isinstance(module, nn.Linear)][-1]
    taken = []
    linear.register_forward_hook(lambda _, inputs, __: taken.append(inputs[0]))
    images = torch.randn(2, 3, 32, 32)
    whole(images)
    features = backbone(images)
    assert backbone.out_features == size
    assert features.shape == (2, size)
    torch.testing.assert_close(features, taken[0])


@pytest.mark.parametrize(
    ("name", "settings"), [("convnext_tiny", {}), ("vit_b_16", {"image_size": 32})]
)
def test_large_models_return_features(name: str, settings: dict[str, Any]) -> None:
    backbone = TorchvisionModels(name, **settings)
    assert backbone.out_features == 768
    assert backbone(torch.randn(2, 3, 32, 32)).shape == (2, 768)


@pytest.mark.parametrize(
    ("name", "size", "side"), [("googlenet", 1024, 64), ("inception_v3", 2048, 75)]
)
def test_models_with_auxiliary_classifiers_return_features_in_training(
    name: str, size: int, side: int
) -> None:
    backbone = TorchvisionModels(name, init_weights=False).train()
    features = backbone(torch.randn(2, 3, side, side))
    assert isinstance(features, torch.Tensor)
    assert features.shape == (2, size) == (2, backbone.out_features)
    features.sum().backward()
    assert [n for n, p in backbone.named_parameters() if p.grad is None] == []


def test_model_without_linear_layer_is_refused() -> None:
    assert "'squeezenet1_1' does not end in a linear layer" in problem(name="squeezenet1_1")


def test_unknown_name_proposes_near_names() -> None:
    message = problem(name="resnet81")
    assert "name: found 'resnet81'; did you mean" in message
    assert "'resnet18'" in message


def test_unknown_weights_propose_near_ones() -> None:
    message = problem(name="resnet18", weights="IMAGENET1K_V9")
    assert "weights: found 'IMAGENET1K_V9'; did you mean 'IMAGENET1K_V1'?" in message


@pytest.mark.parametrize(
    ("settings", "message_part"),
    [
        ({"in_chans": 1}, "in_chans: resnet18 takes no such setting; leave it out"),
        ({"num_classes": 5}, "num_classes: found 5; leave it out"),
    ],
)
def test_settings_that_the_model_does_not_take_are_refused(
    settings: dict[str, int], message_part: str
) -> None:
    message = problem(name="resnet18", **settings)
    assert message_part in message
    assert "did you mean" not in message


def test_setting_out_of_range_is_refused() -> None:
    message = problem(name="vit_b_16", image_size=33)
    assert "vit_b_16 refused its settings" in message
    assert "indivisible" in message


def test_weights_that_cannot_be_downloaded_are_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from urllib.error import URLError

    def offline(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", offline)
    message = problem(name="resnet18", weights="DEFAULT")
    assert "weights: 'DEFAULT' of resnet18 could not be had (URLError: " in message
    assert "give weights: null" in message


@pytest.mark.parametrize("weights", ["IMAGENET1K_V1", "ResNet18_Weights.IMAGENET1K_V1"])
def test_weights_in_torchs_cache_are_used(monkeypatch: pytest.MonkeyPatch, weights: str) -> None:
    whole = models.resnet18()
    monkeypatch.setattr(
        "torchvision.models._api.load_state_dict_from_url", lambda *_, **__: whole.state_dict()
    )
    backbone = TorchvisionModels("resnet18", weights=weights).eval()
    images = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(whole.eval().fc(backbone(images)), whole(images))
