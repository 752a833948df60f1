"""A multilayer perceptron: vectors, such as the rows of a table, to features."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from .base import Backbone

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}
_NORMS: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


class MLP(Backbone):
    """Hidden layers, each linear, normalized, activated and dropped out.

    Values that are no vectors, such as images (N, C, H, W), are flattened.

    Args:
        in_features: The number F of values of an input.
        sizes: Units of each hidden layer, or one number for all `depth` of them; the last is the
            feature size D.
        depth: The number of hidden layers, where `sizes` is one number.
        activation: relu | leaky_relu | gelu | silu | tanh.
        norm: batch | layer | null: what normalizes each hidden layer before its activation.
        norm_inputs: Whether BatchNorm brings each input value to mean 0 and variance 1, for columns
            of unlike scales.
        drop_rate: Dropout after each hidden layer, in [0, 1).
        freeze: Whether the backbone keeps its weights.

    Raises:
        ValueError: If a size or the depth is no positive number, or a name is unknown.
    """

    def __init__(
        self,
        in_features: int | None = None,
        sizes: int | Sequence[int] = 128,
        depth: int = 2,
        activation: str = "relu",
        norm: str | None = "batch",
        norm_inputs: bool = False,
        drop_rate: float = 0.0,
        freeze: bool = False,
    ) -> None:
        super().__init__()
        widths = [sizes] * depth if isinstance(sizes, int) else list(sizes)
        if in_features is None or in_features < 1:
            expected = "needs the number of values of an input, such as the columns of a field"
            raise ValueError(f"in_features: found {in_features}; {expected}")
        if not widths or min(widths) < 1:
            expected = "needs layers of one or more units"
            raise ValueError(f"sizes: found {sizes} for {depth} layers; {expected}")
        activate = _choice("activation", activation, _ACTIVATIONS)
        normalize = None if norm is None else _choice("norm", norm, _NORMS)
        layers: list[nn.Module] = [nn.Flatten()]
        layers += [nn.BatchNorm1d(in_features)] if norm_inputs else []
        size = in_features
        for width in widths:
            # What BatchNorm and LayerNorm add to each unit makes a bias useless.
            layers += [nn.Linear(size, width, bias=normalize is None)]
            layers += [normalize(width)] if normalize else []
            layers += [activate(), nn.Dropout(drop_rate)]
            size = width
        self.layers = nn.Sequential(*layers)
        self.out_features = size
        if freeze:
            self.freeze()

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps inputs (N, ...) of F values each to features (N, D)."""
        features: Tensor = self.layers(inputs)
        return features


def _choice(key: str, name: str, known: dict[str, type[nn.Module]]) -> type[nn.Module]:
    if name not in known:
        raise ValueError(f"{key}: found {name!r}; must be one of {', '.join(known)}")
    return known[name]
