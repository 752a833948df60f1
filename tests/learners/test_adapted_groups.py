"""Learning rates and weight decays of vision transformers by hand, with and without adapters."""

from typing import Any

import pytest
from torch import nn

from sesemi_like.learners import Learner
from sesemi_like.models.backbones import PyTorchImageModels, TorchvisionModels
from sesemi_like.models.networks import ClassificationNetwork, Networks

DEPTH = 6  # of timm's test_vit
LORA = {"kind": "lora", "rank": 2, "target_modules": ["attn.qkv", "mlp.fc1"]}


class Given(Learner):
    """A classifier of a backbone that its settings hold."""

    def build_networks(self) -> Networks:
        head = nn.Linear(BACKBONES[-1].out_features, 3)
        return Networks({"classifier": ClassificationNetwork(BACKBONES[-1], head)})

    def build_terms(self) -> Any:
        return {}


BACKBONES: list[Any] = []


def groups(backbone: Any, **settings: Any) -> dict[str, tuple[float, float]]:
    """The learning rate and weight decay of each trained parameter."""
    BACKBONES.append(backbone)
    adamw = {"_target_": "torch.optim.AdamW", "lr": 1.0, "weight_decay": 0.3}
    learner = Given({"optimizer": adamw, **settings})
    own = {
        id(p): (g["lr"], g["weight_decay"])
        for g in learner.build_optimizer().param_groups
        for p in g["params"]
    }
    trained = {n: p for n, p in learner.named_parameters() if p.requires_grad}
    assert len(own) == len(trained)
    names = {n: n.removeprefix("networks.modules_by_name.classifier.") for n in trained}
    return {names[n].removeprefix("backbone.network."): own[id(p)] for n, p in trained.items()}


def test_rates_of_a_transformer_by_hand() -> None:
    vit = PyTorchImageModels("test_vit", img_size=32, global_pool="token")
    found = groups(vit, layer_decay=0.5, no_decay_1d=True)
    assert found["head.weight"] == (1.0, 0.3)
    assert found["head.bias"] == (1.0, 0.0)
    assert found["norm.weight"] == (0.5, 0.0)  # timm trains it with the last block
    for block in range(DEPTH):
        rate = 0.5 ** (DEPTH - block)  # 0.5 in the last one
        assert found[f"blocks.{block}.attn.qkv.weight"] == (rate, 0.3)
        assert found[f"blocks.{block}.attn.qkv.bias"] == (rate, 0.0)
        assert found[f"blocks.{block}.norm1.weight"] == (rate, 0.0)
    stem = 0.5 ** (DEPTH + 1)
    for name in ("pos_embed", "cls_token", "patch_embed.proj.weight"):
        assert found[name] == (stem, 0.3)
    assert found["patch_embed.proj.bias"] == (stem, 0.0)


def test_adapters_have_the_rate_of_the_block_that_they_are_in() -> None:
    pytest.importorskip("peft", reason="peft is not installed (the extra `peft`)")
    adapter = {**LORA, "norms": True}
    vit = PyTorchImageModels("test_vit", img_size=32, global_pool="token", adapter=adapter)
    param_groups = {"second": {"match": "*.lora_B.*", "lr_scale": 16, "weight_decay": 0.1}}
    found = groups(vit, layer_decay=0.5, no_decay_1d=True, param_groups=param_groups)
    expected = {"head.weight": (1.0, 0.3), "head.bias": (1.0, 0.0)}
    expected |= {"norm.weight": (0.5, 0.0), "norm.bias": (0.5, 0.0)}
    for block in range(DEPTH):
        rate = 0.5 ** (DEPTH - block)
        for layer in ("attn.qkv", "mlp.fc1"):
            expected[f"blocks.{block}.{layer}.lora_A.default.weight"] = (rate, 0.3)
            expected[f"blocks.{block}.{layer}.lora_B.default.weight"] = (16 * rate, 0.1)
        for norm in ("norm1", "norm2"):
            expected |= {f"blocks.{block}.{norm}.{n}": (rate, 0.0) for n in ("weight", "bias")}
    assert found == expected


def test_adapters_of_other_backbones_have_their_blocks_rates() -> None:
    pytest.importorskip("peft", reason="peft is not installed (the extra `peft`)")
    adapter = {"kind": "lora", "rank": 2, "target_modules": "conv1"}
    found = groups(TorchvisionModels("resnet18", adapter=adapter), layer_decay=0.5)
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            name = f"layer{stage}.{block}.conv1.lora_A.default.weight"
            assert found[name] == (2.0 ** -(9 - 2 * stage + 1 - block), 0.3)
    assert found["conv1.lora_B.default.weight"] == (2.0**-9, 0.3)
    assert len(found) == 2 * 9 + 2


def test_ia3_s_scales_can_be_kept_from_decay() -> None:
    pytest.importorskip("peft", reason="peft is not installed (the extra `peft`)")
    vit = PyTorchImageModels("test_vit", img_size=32, adapter={"kind": "ia3"})
    kept = {"scales": {"match": "*.ia3_l.*", "weight_decay": 0.0}}
    found = groups(vit, param_groups=kept)
    assert {decay for name, (_, decay) in found.items() if "ia3_l" in name} == {0.0}
