"""The published wide residual networks against their description, and semilearn's where it is."""

import importlib.util
import math
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from references.wide_resnet import features
from torch import nn
from torch.nn import functional as F

from sesemi_like.models.backbones import USBWideResNet, wrn_28_2_usb, wrn_28_8_usb, wrn_37_2_usb
from sesemi_like.models.heads import LinearHead

NETWORKS = [(wrn_28_2_usb, 3, 1), (wrn_37_2_usb, 4, 2)]


def randomized(network: Any) -> Any:
    """The same network in float64, its norms and biases away from where they begin."""
    generator = torch.Generator().manual_seed(0)
    for parameter in network.double().parameters():
        if parameter.ndim == 1:
            parameter.data += 0.3 * torch.randn(
                parameter.shape, generator=generator, dtype=torch.float64
            )
    return network


def images(size: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(4, 3, size, size, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("build", "groups", "stride"), NETWORKS)
def test_answers_and_gradients_are_those_of_the_description(
    build: Callable[..., Any], groups: int, stride: int
) -> None:
    network = randomized(build())
    weights = {name: p.detach().clone().requires_grad_() for name, p in network.named_parameters()}
    expected = features(images(), weights, groups, stride)
    found = network(images())
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)
    for answer in (found, expected):
        answer.square().sum().backward()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, weights[name].grad, rtol=1e-6, atol=1e-8)


def wrn_by_hand(k: int, groups: int) -> int:
    """Counts weights: four blocks a group, 1x1 paths, no first norm in groups after the first."""
    count, channels = 3 * 9 * 16 + 16, 16
    for group in range(groups):
        width = 16 * 2**group * k
        first = 9 * channels * width + 9 * width**2 + channels * width + 2 * width
        first += 0 if group else 2 * channels
        count += first + 3 * (2 * 9 * width**2 + 4 * width)
        channels = width
    return count + 2 * channels


@pytest.mark.parametrize(
    ("build", "k", "groups", "size"),
    [(wrn_28_2_usb, 2, 3, 128), (wrn_28_8_usb, 8, 3, 512), (wrn_37_2_usb, 2, 4, 256)],
)
def test_networks_have_the_published_sizes(
    build: Callable[..., Any], k: int, groups: int, size: int
) -> None:
    with torch.device("meta"):
        network = build()
    assert sum(p.numel() for p in network.parameters()) == wrn_by_hand(k, groups)
    assert network.out_features == size


def test_norms_move_slowly_and_the_last_has_an_eps_of_its_own() -> None:
    network = wrn_28_2_usb()
    norms = {name: m for name, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert {m.momentum for m in norms.values()} == {0.001}
    assert {name: m.eps for name, m in norms.items() if m.eps != 1e-5} == {"bn1": 1e-3}


def test_weights_are_drawn_as_published() -> None:
    torch.manual_seed(0)
    network = wrn_28_2_usb()
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            deviation = math.sqrt(2 / (module.kernel_size[0] ** 2 * module.out_channels))
            count = module.weight.numel()
            ratio = module.weight.std().item() / deviation
            assert abs(ratio - 1) < 5 / math.sqrt(2 * count), name
            assert (module.bias is not None) is (name == "conv1")
        if isinstance(module, nn.BatchNorm2d):
            assert bool((module.weight == 1).all() and (module.bias == 0).all())
    head = LinearHead(1280, 100, init="xavier")
    assert head.weight.std().item() == pytest.approx(math.sqrt(2 / 1380), rel=0.02)
    assert not head.bias.any()
    with pytest.raises(ValueError, match="init: found 'xavierr'; did you mean 'xavier'"):
        LinearHead(2, 2, init="xavierr")


def test_the_variant_of_fixmatchs_code_convolves_the_activated_input() -> None:
    """google-research/fixmatch, libml/models.py, ResNet: biases, eps 1e-3, active first blocks."""
    network = USBWideResNet(10, 2, first_blocks="active", conv_bias=True, norm_eps=1e-3)
    block: Any = randomized(network).block2.layer[0]
    assert block.conv1.bias is not None
    assert block.bn1.eps == 1e-3
    maps = torch.randn(2, 32, 8, 8, dtype=torch.float64)
    active = F.leaky_relu(block.bn1(maps), 0.1)
    hidden = F.leaky_relu(block.bn2(block.conv1(active)), 0.1)
    torch.testing.assert_close(block(maps), block.convShortcut(maps) + block.conv2(hidden))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 27}, r"depth: found 27; must be 6n \+ 4"),
        ({"groups": 0}, "groups: found 0"),
        ({"first_blocks": "raw"}, "first_blocks: found 'raw'; must be bare or active"),
    ],
)
def test_refuses_what_it_cannot_build(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        USBWideResNet(**settings)


def peers_network(file: str, build: str) -> nn.Module:
    """A network of semilearn, of whose package only this file is run."""
    found = importlib.util.find_spec("semilearn")
    if found is None or found.origin is None:
        pytest.skip("needs semilearn 0.3.2, of the extra bench")
    path = Path(found.origin).parent / "nets" / "wrn" / file
    utilities: Any = types.ModuleType("semilearn.nets.utils")
    utilities.load_checkpoint = None
    stubs = {name: types.ModuleType(name) for name in ("semilearn", "semilearn.nets")}
    known = {name: sys.modules.get(name) for name in (*stubs, utilities.__name__)}
    sys.modules |= {**stubs, utilities.__name__: utilities}
    try:
        spec = importlib.util.spec_from_file_location("peers_wrn", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        for name, before in known.items():
            del sys.modules[name]
            if before is not None:
                sys.modules[name] = before
    network: nn.Module = getattr(module, build)(num_classes=10)
    return network


UNREAD = [f"block{group}.layer.0.bn1" for group in (2, 3, 4)]
"""The layers whose output semilearn discards."""


@pytest.mark.parametrize(
    ("file", "name", "build"),
    [
        ("wrn.py", "wrn_28_2", wrn_28_2_usb),
        ("wrn.py", "wrn_28_8", wrn_28_8_usb),
        ("wrn_var.py", "wrn_var_37_2", wrn_37_2_usb),
    ],
)
def test_names_shapes_and_answers_are_semilearns(
    file: str, name: str, build: Callable[..., Any]
) -> None:
    peer: Any = randomized(peers_network(file, name))
    known = {
        key: value
        for key, value in peer.state_dict().items()
        if key.rpartition(".")[0] not in [*UNREAD, "classifier"]
    }
    own = build().double()
    assert {k: v.shape for k, v in own.state_dict().items()} == {
        k: v.shape for k, v in known.items()
    }
    own.load_state_dict(known)
    for _ in range(2):
        torch.testing.assert_close(own(images()), peer(images(), only_feat=True))
    torch.testing.assert_close(own.eval()(images()), peer.eval()(images(), only_feat=True))
    for key, value in own.state_dict().items():
        torch.testing.assert_close(value, peer.state_dict()[key])
