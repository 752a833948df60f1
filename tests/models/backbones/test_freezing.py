"""A frozen backbone learns nothing: no gradients, no statistics, no dropout."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from sesemi_like.models.backbones import (
    CIFARResNet,
    PyTorchImageModels,
    SmallConvNet,
    TorchvisionModels,
    WideResNet,
)
from sesemi_like.models.networks import ClassificationNetwork

BUILDS = {
    "wide_resnet": lambda **s: WideResNet(10, 1, drop_rate=0.5, **s),
    "cifar_resnet": lambda **s: CIFARResNet(8, **s),
    "small_cnn": lambda **s: SmallConvNet(in_chans=3, widths=(4, 8), drop_rate=0.5, **s),
    "timm": lambda **s: PyTorchImageModels("resnet10t", drop_rate=0.5, drop_path_rate=0.5, **s),
    "torchvision": lambda **s: TorchvisionModels("mobilenet_v3_small", **s),
}


@pytest.fixture(params=BUILDS)
def build(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return BUILDS[request.param]


def test_frozen_backbone_keeps_weights_and_statistics_in_train_mode(
    build: Callable[..., Any],
) -> None:
    network = ClassificationNetwork(backbone := build(freeze=True), nn.LazyLinear(2)).train()
    images = torch.randn(4, 3, 32, 32)
    before = copy.deepcopy(backbone.state_dict())
    first, second = network(images), network(images)
    assert torch.equal(first["features"], second["features"])
    assert not first["features"].requires_grad
    first["logits"].sum().backward()
    assert all(p.grad is None and not p.requires_grad for p in backbone.parameters())
    assert network.head.weight.grad is not None
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_frozen_backbone_stays_frozen_after_train_and_in_a_copy(build: Callable[..., Any]) -> None:
    network = ClassificationNetwork(build(freeze=True), nn.Identity()).eval().train()
    assert network.training
    for backbone in (network.backbone, copy.deepcopy(network).train().backbone):
        assert not any(module.training for module in backbone.modules())


def test_backbone_that_is_not_frozen_learns_all_its_weights_and_statistics(
    build: Callable[..., Any],
) -> None:
    backbone = build().train()
    before = copy.deepcopy(backbone.state_dict())
    backbone(torch.randn(8, 3, 32, 32)).square().sum().backward()
    # A parameter without a gradient would stop training over several processes.
    assert [n for n, p in backbone.named_parameters() if p.grad is None] == []
    statistics = [n for n in before if n.endswith("running_mean")]
    assert statistics
    assert not any(torch.equal(before[n], backbone.state_dict()[n]) for n in statistics)
