"""The MLP head: features to a projection or to logits through hidden layers."""

from __future__ import annotations

from torch import nn


class MLPHead(nn.Sequential):
    """Linear layers with BatchNorm, ReLU and dropout between them; the last one is bare.

    Args:
        in_features: The size D of the features (N, D).
        out_features: The size of the output.
        hidden_features: The size of every hidden layer; null is `in_features`.
        num_layers: Linear layers in all, at least 1.
        norm: Whether hidden layers are normalized over the batch.
        drop_rate: Dropout after hidden layers, in [0, 1).

    Attributes:
        out_features: The size of the output.

    Raises:
        ValueError: If there is no layer, or hidden ones have no units.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden_features: int | None = None,
        num_layers: int = 2,
        norm: bool = True,
        drop_rate: float = 0.0,
    ) -> None:
        if num_layers < 1:
            raise ValueError(f"num_layers: found {num_layers}; must be at least 1")
        hidden = in_features if hidden_features is None else hidden_features
        if hidden < 1:
            raise ValueError(f"hidden_features: found {hidden}; must be at least 1")
        layers: list[nn.Module] = []
        size = in_features
        for _ in range(num_layers - 1):
            layers += [nn.Linear(size, hidden, bias=not norm)]
            layers += [nn.BatchNorm1d(hidden)] if norm else []
            layers += [nn.ReLU(inplace=True), nn.Dropout(drop_rate)]
            size = hidden
        super().__init__(*layers, nn.Linear(size, out_features))
        self.out_features = out_features
