"""The multilayer perceptron against NumPy, its settings, and what it refuses."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sesemi_like.models.backbones import MLP


def test_equals_matrix_products() -> None:
    torch.manual_seed(0)
    network = MLP(5, sizes=[4, 3], norm=None, drop_rate=0.5).eval()
    inputs = torch.randn(7, 5)
    expected = inputs.numpy()
    for layer in (m for m in network.modules() if isinstance(m, nn.Linear)):
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        expected = np.maximum(expected @ weight.T + bias, 0)
    with torch.no_grad():
        np.testing.assert_allclose(network(inputs).numpy(), expected, atol=1e-6)
    assert network.out_features == 3


def test_inputs_are_normalized_and_flattened() -> None:
    network = MLP(6, sizes=4, depth=1, norm_inputs=True, activation="tanh", norm="layer").train()
    inputs = torch.randn(50, 2, 3) * 100 + 40
    seen: list[torch.Tensor] = []
    first = next(m for m in network.modules() if isinstance(m, nn.Linear))
    first.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    assert network(inputs).shape == (50, 4)
    columns = inputs.flatten(1).numpy()
    expected = (columns - columns.mean(0)) / columns.std(0)
    np.testing.assert_allclose(seen[0].detach().numpy(), expected, atol=1e-4)
    assert first.bias is None


@pytest.mark.parametrize(("sizes", "depth", "units"), [(8, 3, [8] * 3), ([9, 2], 5, [9, 2])])
def test_sizes_and_depth(sizes: Any, depth: int, units: list[int]) -> None:
    network = MLP(4, sizes=sizes, depth=depth)
    layers = [m.out_features for m in network.modules() if isinstance(m, nn.Linear)]
    assert layers == units
    assert sum(isinstance(m, nn.BatchNorm1d) for m in network.modules()) == len(units)


def test_a_frozen_one_learns_nothing() -> None:
    network = MLP(4, freeze=True).train()
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"in_features": None}, "in_features: found None; needs the number of values"),
        ({"in_features": 0}, "in_features: found 0"),
        ({"sizes": []}, "sizes: found"),
        ({"depth": 0}, "for 0 layers"),
        ({"sizes": [3, 0]}, "sizes: found"),
        ({"activation": "rulu"}, "activation: found 'rulu'; must be one of relu"),
        ({"norm": "group"}, "norm: found 'group'; must be one of batch, layer"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        MLP(**{"in_features": 4, **settings})
