"""Copies, processes and compilation leave frozen backbones and teachers what they are."""

import copy
import io
from typing import Any

import torch

from sesemi_like.models.backbones import SmallConvNet, WideResNet
from sesemi_like.models.ema import EMATeacher


def backbone(**settings: bool) -> SmallConvNet:
    return SmallConvNet(in_chans=1, widths=(4, 8), drop_rate=0.5, **settings)


def compiled(module: SmallConvNet) -> Any:
    """Compiles by tracing alone, which needs no compiler of C++."""
    return torch.compile(module, backend="eager")


def test_copy_of_a_frozen_backbone_is_frozen_and_its_own() -> None:
    first = backbone(freeze=True)
    second = copy.deepcopy(first).train()
    assert second.is_frozen
    assert not second.training
    assert not any(parameter.requires_grad for parameter in second.parameters())
    next(second.parameters()).fill_(3)
    assert not (next(first.parameters()) == 3).any()


def test_saved_backbone_gives_the_same_features() -> None:
    first, buffer = WideResNet(10, 1).eval(), io.BytesIO()
    torch.save(first.state_dict(), buffer)
    buffer.seek(0)
    second = WideResNet(10, 1).eval()
    second.load_state_dict(torch.load(buffer, weights_only=True))
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(first(images), second(images))


def test_compiled_frozen_backbone_stays_frozen() -> None:
    network = backbone(freeze=True)
    fast = compiled(network).train()
    images = torch.randn(2, 1, 8, 8)
    before = copy.deepcopy(network.state_dict())
    torch.testing.assert_close(fast(images), network(images))
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(v, before[n]) for n, v in network.state_dict().items())


def test_teacher_follows_a_compiled_network() -> None:
    network = backbone()
    teacher = EMATeacher(network, decay=0.5, warmup=False)
    start = copy.deepcopy(network)
    fast = compiled(network)
    fast(torch.randn(2, 1, 8, 8)).sum().backward()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.sub_(parameter.grad)
    teacher.update(fast, 0)
    for own, old, new in zip(
        teacher.module.parameters(), start.parameters(), network.parameters(), strict=True
    ):
        torch.testing.assert_close(own, (old + new) / 2)
