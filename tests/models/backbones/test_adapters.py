"""Adapters of peft in backbones: where they are, what trains, and that merging changes nothing."""

import copy
import sys
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from sesemi_like.config.instantiate import instantiate
from sesemi_like.errors import ConfigError
from sesemi_like.models.backbones import PyTorchImageModels, TorchvisionModels
from sesemi_like.models.backbones.adapters import KINDS, merge_adapters
from sesemi_like.models.ema import EMATeacher

VIT = {"_target_": "sesemi_like.PyTorchImageModels", "name": "test_vit", "img_size": 32}
# Its residual branches would begin as zeros, through which nothing frozen learns.
RESNET = {
    "_target_": "sesemi_like.PyTorchImageModels",
    "name": "test_resnet",
    "zero_init_last": False,
}
TORCHVISION = {"_target_": "sesemi_like.models.backbones.TorchvisionModels", "name": "resnet18"}
BACKBONES = pytest.mark.parametrize(
    "settings", [VIT, RESNET, TORCHVISION], ids=["vit", "resnet", "torchvision"]
)
SIDE = 32


@pytest.fixture
def peft() -> Any:
    return pytest.importorskip("peft", reason="peft is not installed (the extra `peft`)")


def built(settings: dict[str, Any], adapter: Any) -> Any:
    torch.manual_seed(2)
    config = OmegaConf.create({**settings, "adapter": adapter})
    return instantiate(config, key="learner.hparams.model.backbone")


def problem(adapter: Any, **settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        built({**VIT, **settings}, adapter)
    return str(caught.value)


def trained(network: nn.Module) -> set[str]:
    return {name for name, p in network.named_parameters() if p.requires_grad}


def step(network: Any) -> torch.Tensor:
    """Steps of Adam on what is trained."""
    torch.manual_seed(0)
    images, direction = torch.randn(4, 3, SIDE, SIDE), torch.randn(network.out_features)
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=0.03)
    for _ in range(3):  # LoRA's first factor has no gradient before the second has moved
        optimizer.zero_grad()
        (network.train()(images) * direction).sum().backward()
        optimizer.step()
    return images


def test_an_absent_peft_is_an_error_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    message = problem({"kind": "lora"})
    assert "adapter: needs the library peft, which cannot be imported" in message
    assert "install it with `python -m pip install peft`" in message


@BACKBONES
@pytest.mark.parametrize("kind", KINDS)
def test_only_adapters_learn_and_the_outputs_begin_as_they_were(
    peft: Any, kind: str, settings: dict[str, Any]
) -> None:
    plain, network = built(settings, None), built(settings, {"kind": kind})
    images = torch.randn(2, 3, SIDE, SIDE)
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(images), plain.eval()(images))
    assert network.out_features == plain.out_features
    own = {name.replace(".base_layer", "") for name, _ in network.named_parameters()}
    assert {name for name, _ in plain.named_parameters()} <= own
    assert trained(network)
    assert not any("base_layer" in name for name in trained(network))
    before = copy.deepcopy(network.state_dict())
    step(network)
    for name, value in network.state_dict().items():  # running statistics stay as well
        assert torch.equal(value, before[name]) != (name in trained(network)), name


@BACKBONES
@pytest.mark.parametrize("kind", KINDS)
def test_merged_weights_compute_the_same_in_a_network_without_adapters(
    peft: Any, kind: str, settings: dict[str, Any]
) -> None:
    plain, network = built(settings, None), built(settings, {"kind": kind})
    images = step(network)
    with torch.no_grad():
        expected = network.eval()(images)
        assert not torch.allclose(expected, plain.eval()(images), rtol=1e-3, atol=1e-5)
        merged = copy.deepcopy(network)
        assert merge_adapters(merged) == sum("base_layer.weight" in n for n in network.state_dict())
        torch.testing.assert_close(merged(images), expected, rtol=1e-4, atol=1e-5)
        plain.load_state_dict(merged.state_dict())
        torch.testing.assert_close(plain(images), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(network(images), expected)  # of which that was a copy
    assert merge_adapters(merged) == 0


def test_a_teacher_is_merged_by_its_own_adapters(peft: Any) -> None:
    network = built(VIT, {"kind": "lora"})
    teacher = EMATeacher(network, decay=0.5, warmup=False)
    images = step(network)
    teacher.update(network, 0)
    both = nn.ModuleDict({"student": network, "teacher": teacher}).eval()
    with torch.no_grad():
        expected = [module(images) for module in both.values()]
        assert not torch.allclose(expected[0], expected[1], rtol=1e-3, atol=1e-5)
        assert merge_adapters(both) == 48
        for module, output in zip(both.values(), expected, strict=True):
            torch.testing.assert_close(module(images), output, rtol=1e-4, atol=1e-5)


def test_lora_has_the_rank_the_scale_and_the_layers_that_are_asked_for(peft: Any) -> None:
    adapter = {"kind": "lora", "rank": 3, "alpha": 6, "target_modules": ["attn.qkv", "blocks.5"]}
    network = built(VIT, adapter)
    layers = {n.split(".lora_A")[0] for n in trained(network) if "lora_A" in n}
    last = {f"network.blocks.5.{n}" for n in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")}
    assert layers == {f"network.blocks.{n}.attn.qkv" for n in range(6)} | last
    layer = network.network.blocks[0].attn.qkv
    assert layer.lora_A["default"].weight.shape == (3, 64)
    nn.init.normal_(layer.lora_B["default"].weight)
    rows = torch.randn(5, 64)
    update = rows @ layer.lora_A["default"].weight.T @ layer.lora_B["default"].weight.T
    with torch.no_grad():
        torch.testing.assert_close(layer(rows), layer.base_layer(rows) + 6 / 3 * update)


def test_ia3_scales_as_in_its_paper_where_asked(peft: Any) -> None:
    adapter = {
        "kind": "ia3", "target_modules": ["attn.qkv", "mlp.fc2"], "feedforward_modules": "mlp.fc2",
    }  # fmt: skip
    block: Any = built(VIT, adapter).network.blocks[0]
    assert block.attn.qkv.ia3_l["default"].shape == (192, 1)  # outputs
    assert block.mlp.fc2.ia3_l["default"].shape == (1, 192)  # inputs


@pytest.mark.parametrize(("settings", "kind"), [(VIT, nn.LayerNorm), (RESNET, nn.BatchNorm2d)])
def test_norms_are_trained_on_request(peft: Any, settings: dict[str, Any], kind: Any) -> None:
    network = built(settings, {"kind": "lora", "norms": True})
    norms = [f"{n}.weight" for n, module in network.named_modules() if isinstance(module, kind)]
    assert norms
    assert set(norms) <= trained(network)
    before = copy.deepcopy(network.state_dict())
    step(network)
    for name, value in network.state_dict().items():
        if "running" in name:
            assert not torch.equal(value, before[name])
    frozen = built(settings, {"kind": "lora"})
    assert not set(norms) & trained(frozen)


def test_layers_whose_weights_are_read_without_a_call_have_no_adapter(peft: Any) -> None:
    adapter = {"kind": "lora", "rank": 2}
    network = TorchvisionModels("vit_b_32", image_size=32, adapter=adapter)
    assert {n.split(".mlp.")[1][:1] for n in trained(network)} == {"0", "3"}
    assert not any("self_attention" in name for name in trained(network))
    with pytest.raises(ValueError, match=r"target_modules: 'out_proj' matches no linear layer"):
        TorchvisionModels(
            "vit_b_32", image_size=32, adapter={**adapter, "target_modules": "out_proj"}
        )


@pytest.mark.parametrize(
    ("adapter", "message_part"),
    [
        ("lora", "adapter: found 'lora'; needs a mapping such as {kind: lora}"),
        ({"kind": "lorra"}, "adapter.kind: found 'lorra'; did you mean 'lora'"),
        ({"rank": 4}, "adapter.kind: found None"),
        ({"kind": "lora", "rnak": 4}, "adapter.rnak: found 4; no such setting; did you mean 'ran"),
        ({"kind": "ia3", "rank": 4}, "adapter.rank: found 4; no such setting"),
        ({"kind": "lora", "rank": 0}, "refused its settings"),
        ({"kind": "lora", "target_modules": ["attn.qvk"]}, "'attn.qvk' matches no linear layer or "
         "convolution that the network calls; did you mean 'attn.qkv'"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(peft: Any, adapter: Any, message_part: str) -> None:
    assert message_part in problem(adapter)


def test_a_frozen_backbone_has_nothing_to_adapt(peft: Any) -> None:
    assert "freeze: found true; an adapter freezes all but itself" in problem(
        {"kind": "lora"}, freeze=True
    )


def test_other_settings_are_those_of_peft(peft: Any) -> None:
    network = PyTorchImageModels(
        "test_vit", img_size=32, adapter={"kind": "lora", "use_dora": True, "rank": 2}
    )
    assert any("lora_magnitude_vector" in name for name in trained(network))
