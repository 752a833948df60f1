"""The linear and the MLP head by hand."""

from typing import Any

import pytest
import torch
from torch import nn

from sesemi_like.models.heads import LinearHead, MLPHead


def test_linear_head_by_hand() -> None:
    head = LinearHead(3, 2)
    features = torch.randn(4, 3)
    torch.testing.assert_close(head(features), features @ head.weight.T + head.bias)
    assert head(features).shape == (4, 2)
    assert LinearHead(3, 2, bias=False).bias is None


def test_mlp_head_by_hand() -> None:
    head: Any = MLPHead(3, 2, hidden_features=5, num_layers=3, norm=False).double()
    first, second, last = (module for module in head if isinstance(module, nn.Linear))
    assert [first.out_features, second.out_features, last.out_features] == [5, 5, 2]
    features = torch.randn(4, 3, dtype=torch.float64)
    hidden = torch.clamp(features @ first.weight.T + first.bias, min=0)
    hidden = torch.clamp(hidden @ second.weight.T + second.bias, min=0)
    torch.testing.assert_close(head(features), hidden @ last.weight.T + last.bias)


def test_mlp_head_normalizes_hidden_layers_alone() -> None:
    head: Any = MLPHead(3, 2, num_layers=2)
    assert [type(module) for module in head] == [
        nn.Linear,
        nn.BatchNorm1d,
        nn.ReLU,
        nn.Dropout,
        nn.Linear,
    ]
    assert head[0].out_features == 3  # as many as features
    assert head[0].bias is None  # BatchNorm's shift stands for it
    assert head[-1].bias is not None


def test_mlp_head_of_one_layer_is_linear() -> None:
    head: Any = MLPHead(3, 2, num_layers=1)
    assert len(head) == 1
    features = torch.randn(4, 3)
    torch.testing.assert_close(head(features), features @ head[0].weight.T + head[0].bias)


def test_mlp_head_drops_hidden_units_in_training_only() -> None:
    head: Any = MLPHead(3, 2, drop_rate=1.0, norm=False)
    features = torch.randn(4, 3)
    assert torch.equal(head.train()(features), head[-1].bias.expand(4, 2))
    assert not torch.equal(head.eval()(features), head[-1].bias.expand(4, 2))


@pytest.mark.parametrize("num_layers", [0, -1])
def test_mlp_head_without_layers_is_refused(num_layers: int) -> None:
    with pytest.raises(ValueError, match=f"num_layers: found {num_layers}; must be at least 1"):
        MLPHead(3, 2, num_layers=num_layers)


@pytest.mark.parametrize("hidden_features", [0, -4])
def test_mlp_head_without_hidden_units_is_refused(hidden_features: int) -> None:
    with pytest.raises(ValueError, match=f"hidden_features: found {hidden_features}; must be"):
        MLPHead(3, 2, hidden_features=hidden_features)
