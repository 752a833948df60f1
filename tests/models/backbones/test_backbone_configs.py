"""Every built-in config of a backbone composes and builds a backbone from its own settings."""

import pytest
import torch
from composing import composed
from omegaconf import DictConfig

from sesemi_like.config.instantiate import instantiate
from sesemi_like.config.store import builtin_configs
from sesemi_like.models.backbones import Backbone

NAMES = sorted(path.stem for path in (builtin_configs() / "backbone").glob("*.yaml"))
OVERRIDES = {
    "timm": ["learner.hparams.model.backbone.name=test_resnet"],
    "vit_base_16": ["data.image_size=32"],
    "vit_small_14_dinov2": ["data.image_size=28"],
    "vit_small_16": ["data.image_size=32"],
    "mlp": ["learner.hparams.model.backbone.in_features=3072"],  # 3 x 32 x 32
}
SIZES = {
    "cifar_resnet20": 64,
    "cifar_resnet56": 64,
    "mlp": 128,
    "resnet18d": 512,
    "resnet50d": 2048,
    "resnet50d_sesemi": 2048,
    "small_cnn": 128,
    "timm": 96,
    "torchvision": 512,
    "vit_base_16": 768,
    "vit_base_16_96": 768,
    "vit_small_14_dinov2": 384,
    "vit_small_16": 384,
    "vit_small_2_32": 384,
    "vit_tiny_2_32": 192,
    "wrn_28_10": 640,
    "wrn_28_2": 128,
    "wrn_28_2_usb": 128,
    "wrn_28_8": 512,
    "wrn_28_8_usb": 512,
    "wrn_37_2_usb": 256,
}


def settings_of(name: str) -> DictConfig:
    """The settings of a backbone in a run that chooses it."""
    config = composed("sesemi_config", f"backbone={name}", *OVERRIDES.get(name, []))
    return config.learner.hparams.model.backbone


def test_every_backbone_config_is_known_here() -> None:
    assert sorted(SIZES) == NAMES
    assert len(NAMES) == 21


@pytest.mark.parametrize("name", NAMES)
def test_builds_from_its_own_settings(name: str) -> None:
    settings = settings_of(name)
    backbone = instantiate(settings, key="learner.hparams.model.backbone")
    assert isinstance(backbone, Backbone)
    assert not backbone.is_frozen
    assert backbone.out_features == SIZES[name]
    side = settings.get("img_size") or 32
    images = torch.randn(1, settings.get("in_chans", 3), side, side)
    with torch.no_grad():
        assert backbone.eval()(images).shape == (1, SIZES[name])


@pytest.mark.parametrize("name", NAMES)
def test_shows_the_command_that_runs_it(name: str) -> None:
    text = (builtin_configs() / "backbone" / f"{name}.yaml").read_text()
    assert f"backbone={name}" in text.split("_target_")[0]
