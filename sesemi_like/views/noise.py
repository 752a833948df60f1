"""Random changes of vectors: noise, and values that are left out.

Shapes: N samples, D values.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sesemi_like.views.checks import check


class Noise:
    """Adds normal noise to every value of a field, then sets some of the values to zero.

    Each value has draws of its own, made on the CPU and copied to the values' device, so that a
    seed means the same on every device.

    Args:
        std: The standard deviation of the noise, 0 or more, in units of the values.
        drop: The share of values that become zero, in [0, 1).
        source: The batch field that the view is made from.

    Raises:
        ValueError: If `std` or `drop` lies outside its range.

    Example:
        >>> view = Noise(std=0.1, drop=0.2, source="features")
        >>> view(features, generator)
    """

    def __init__(self, std: float = 0.1, drop: float = 0.0, source: str = "features") -> None:
        check(std >= 0, "std", std, "0 or more")
        check(0 <= drop < 1, "drop", drop, "a share in [0, 1)")
        self.std, self.drop, self.source = std, drop, source

    def __call__(self, values: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Makes the view.

        Args:
            values: (N, ...), floating point.
            generator: Source of all random draws, on the CPU; None takes torch's global one.

        Returns:
            float32 (N, ...).

        Raises:
            ValueError: The values are no floating-point numbers.
        """
        check(values.is_floating_point(), "values", values.dtype, "floating point")
        result = values.float()
        if self.std:
            noise = torch.randn(values.shape, generator=generator)
            result = result + self.std * noise.to(values.device)
        if self.drop:
            is_kept = torch.rand(values.shape, generator=generator) >= self.drop
            result = result * is_kept.to(values.device)
        return result
