"""The networks for small images against their papers: sizes, weights, order, shortcuts."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sesemi_like.models.backbones import (
    CIFARResNet,
    SmallConvNet,
    WideResNet,
    cifar_resnet20,
    cifar_resnet56,
    wrn_28_2,
    wrn_28_8,
    wrn_28_10,
)
from sesemi_like.models.heads import LinearHead


def parameters(backbone: CIFARResNet | WideResNet) -> int:
    """Learned numbers of a backbone and a head for ten classes."""
    head = LinearHead(backbone.out_features, 10)
    return sum(p.numel() for m in (backbone, head) for p in m.parameters())


def on_meta(build: Callable[..., Any], *args: int, **settings: Any) -> Any:
    with torch.device("meta"):
        return build(*args, **settings)


def wide_resnet_28_by_hand(k: int) -> int:
    """Counts table 1 of arXiv 1605.07146: four blocks a group, 1x1 paths where widths change."""
    count, channels = 3 * 9 * 16, 16
    for width in (16 * k, 32 * k, 64 * k):
        first = 9 * channels * width + 9 * width**2 + channels * width + 2 * (channels + width)
        count += first + 3 * (2 * 9 * width**2 + 4 * width)
        channels = width
    return count + 2 * channels + 10 * channels + 10


# In millions: Oliver et al. 2018 (1.5), and table 4 of arXiv 1605.07146 for the two others.
@pytest.mark.parametrize(
    ("build", "k", "millions"), [(wrn_28_2, 2, 1.5), (wrn_28_8, 8, 23.4), (wrn_28_10, 10, 36.5)]
)
def test_wide_resnets_are_as_large_as_published(
    build: Callable[..., Any], k: int, millions: float
) -> None:
    backbone = on_meta(build)
    assert parameters(backbone) == wide_resnet_28_by_hand(k)
    assert round(parameters(backbone) / 1e6, 1) == millions
    assert backbone.out_features == 64 * k


# Table 6 of arXiv 1512.03385, in millions.
@pytest.mark.parametrize(
    ("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)]
)
def test_cifar_resnets_are_as_large_as_published(depth: int, millions: float) -> None:
    digits = 1 if millions > 1 else 2
    assert round(parameters(on_meta(CIFARResNet, depth)) / 1e6, digits) == millions


def test_named_cifar_resnets_have_their_depth() -> None:
    for build, depth in ((cifar_resnet20, 20), (cifar_resnet56, 56)):
        convolutions = [m for m in on_meta(build).modules() if isinstance(m, nn.Conv2d)]
        assert len(convolutions) == depth - 1  # and one linear head


@pytest.mark.parametrize("build", [wrn_28_2, cifar_resnet56, SmallConvNet])
def test_convolutions_are_drawn_from_he_normal_fan_out(
    build: Callable[..., Any] | type[SmallConvNet],
) -> None:
    torch.manual_seed(0)
    for module in build().modules():
        if isinstance(module, nn.Conv2d):
            k, out = module.kernel_size[0], module.out_channels
            n = module.weight.numel()
            ratio = module.weight.std().item() / math.sqrt(2 / (k * k * out))
            assert abs(ratio - 1) < 5 / math.sqrt(2 * n), module
            mean = module.weight.mean().item() / math.sqrt(2 / (k * k * out))
            assert abs(mean) < 5 / math.sqrt(n), module
            assert module.bias is None


def test_batchnorm_starts_at_one_and_zero() -> None:
    for module in wrn_28_2().modules():
        if isinstance(module, nn.BatchNorm2d):
            assert bool((module.weight == 1).all())
            assert bool((module.bias == 0).all())


def test_wide_resnet_block_normalizes_before_it_convolves() -> None:
    network = WideResNet(10, 1).double()
    block: Any = network.blocks[1]  # 16 to 32 channels, halved in size
    block.norm1.weight.data.uniform_(0.5, 1.5)
    inputs = torch.randn(4, 16, 8, 8, dtype=torch.float64)

    def normalized(x: torch.Tensor, norm: nn.BatchNorm2d) -> torch.Tensor:
        mean = x.mean((0, 2, 3), keepdim=True)
        variance = x.var((0, 2, 3), keepdim=True, unbiased=False)
        scale, shift = norm.weight[:, None, None], norm.bias[:, None, None]
        return torch.clamp((x - mean) / torch.sqrt(variance + norm.eps) * scale + shift, min=0)

    active = normalized(inputs, block.norm1)
    hidden = F.conv2d(active, block.conv1.weight, stride=2, padding=1)
    residual = F.conv2d(normalized(hidden, block.norm2), block.conv2.weight, padding=1)
    expected = residual + F.conv2d(active, block.shortcut.weight, stride=2)
    torch.testing.assert_close(block(inputs), expected)


def test_wide_resnet_block_of_the_same_shape_adds_its_bare_inputs() -> None:
    block: Any = WideResNet(16, 1).blocks[1]
    block.conv2.weight.data.zero_()
    inputs = torch.randn(2, 16, 4, 4)
    assert block.shortcut is None
    assert torch.equal(block(inputs), inputs)


def test_option_a_shortcut_subsamples_and_pads_with_zero_channels() -> None:
    block: Any = CIFARResNet(8).blocks[1]  # 16 to 32 channels, halved in size
    block.norm2.weight.data.zero_()  # leaves the shortcut alone
    inputs = torch.arange(16.0).reshape(1, 1, 4, 4).repeat(1, 16, 1, 1)
    outputs = block(inputs)
    assert outputs.shape == (1, 32, 2, 2)
    assert torch.equal(outputs[:, :16], torch.tensor([[0.0, 2.0], [8.0, 10.0]]).expand(1, 16, 2, 2))
    assert torch.equal(outputs[:, 16:], torch.zeros(1, 16, 2, 2))


def test_cifar_resnet_ends_in_relu_after_the_addition() -> None:
    block: Any = CIFARResNet(8).blocks[0]
    block.norm2.weight.data.zero_()
    inputs = torch.randn(1, 16, 2, 2)
    assert torch.equal(block(inputs), inputs.clamp(min=0))


@pytest.mark.parametrize("in_chans", [1, 3])
@pytest.mark.parametrize(
    ("build", "settings", "size"),
    [
        (WideResNet, {"depth": 10, "widen_factor": 2}, 128),
        (CIFARResNet, {"depth": 8}, 64),
        (SmallConvNet, {"widths": (4, 8)}, 8),
    ],
)
def test_features_have_the_size_that_is_reported(
    build: type[Any], settings: dict[str, Any], size: int, in_chans: int
) -> None:
    backbone = build(in_chans=in_chans, **settings)
    assert backbone.out_features == size
    assert backbone(torch.randn(2, in_chans, 16, 16)).shape == (2, size)
    with pytest.raises(RuntimeError, match="channels"):
        backbone(torch.randn(2, 4 - in_chans, 16, 16))


@pytest.mark.parametrize("depth", [4, 20, 27, 29, -2])
def test_wide_resnet_refuses_other_depths(depth: int) -> None:
    with pytest.raises(ValueError, match=rf"depth: found {depth}; must be 6n \+ 4"):
        WideResNet(depth)


@pytest.mark.parametrize("depth", [2, 18, 28, -4])
def test_cifar_resnet_refuses_other_depths(depth: int) -> None:
    with pytest.raises(ValueError, match=rf"depth: found {depth}; must be 6n \+ 2"):
        CIFARResNet(depth)


@pytest.mark.parametrize("widths", [(), (8, 0)])
def test_small_network_refuses_empty_stages(widths: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="widths: found"):
        SmallConvNet(widths=widths)


def test_dropout_acts_on_the_residual_path_alone() -> None:
    block: Any = WideResNet(10, 1, drop_rate=0.3).blocks[1]
    assert block.dropout.p == 0.3
    block.dropout.p = 1.0
    inputs = torch.randn(2, 16, 8, 8)
    expected = block.shortcut(F.relu(block.norm1(inputs)))
    assert torch.equal(block(inputs), expected)
    assert not torch.allclose(block.eval()(inputs), expected)
