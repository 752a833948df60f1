"""Mixing: a row is blended with a partner, or has it pasted in, and tells which share is its own.

What is drawn depends on the given generator alone, so on the seed, the step and the request that
draws. Partners are rows of the same process.

Shapes: N rows (N, ...) of floating point, images (N, D, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


class Mixing(Protocol):
    """How a row and its partner become one: :class:`Mixup`, :class:`ResizeMix` or your own."""

    def __call__(
        self, rows: Tensor, partners: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Mixes every row with its partner.

        Args:
            rows: (N, ...), floating point.
            partners: A partner for each row (N, ...), of the same shape and dtype.
            generator: What is drawn from, on the CPU.

        Returns:
            The mixed rows (N, ...), and which share of each is the row itself (N,), in [0, 1] and
            of the rows' dtype; the rest is its partner's.
        """


class Mixup:
    """Blends rows of any kind: ``share * row + (1 - share) * partner``.

    Zhang et al., "mixup: beyond empirical risk minimization", 2018, arXiv 1710.09412. The share is
    drawn from Beta(alpha, alpha). MixMatch (arXiv 1905.02249, equation 9) takes the larger one of
    share and 1 - share, so that a mixed row is closer to the row than to its partner.

    Args:
        alpha: Of the distribution, 0 or more; 0 mixes nothing.
        per_row: Whether each row has a share of its own; false draws one for all rows of a call.
        at_least_half: Whether the larger one of share and 1 - share is taken.

    Raises:
        ValueError: If alpha is negative.
    """

    def __init__(
        self, alpha: float = 0.75, per_row: bool = True, at_least_half: bool = True
    ) -> None:
        self.alpha = _checked(alpha)
        self.per_row = per_row
        self.at_least_half = at_least_half

    def __call__(
        self, rows: Tensor, partners: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Mixes every row with its partner, see :class:`Mixing`.

        Raises:
            ValueError: If the rows are not floating point.
        """
        if not rows.is_floating_point():
            found, way_out = rows.dtype, "a view turns bytes into numbers in [0, 1]"
            raise ValueError(f"mixup blends rows of floating point: found {found}; {way_out}")
        shares = draw_beta(len(rows) if self.per_row else 1, self.alpha, generator)
        if self.at_least_half:
            shares = torch.maximum(shares, 1 - shares)
        shares = shares.to(rows.dtype).to(rows.device).expand(len(rows))
        return blend(shares, rows, partners), shares


class ResizeMix:
    """Pastes the whole partner, made smaller, into an image.

    Qin et al., "ResizeMix: mixing data with preserved object information and true labels", 2020,
    arXiv 2012.11101, as in the code of RegMixMatch (arXiv 2412.10741). The side of the pasted
    image is a share of the image's, ``low + (high - low) * sqrt(b)`` with b from Beta(alpha,
    alpha). Its center is drawn from all places; what sticks out is cut off, and the partner is
    fitted into what is left by the nearest pixel. The share of a row is the area that is still its
    own. All images of a call have the same place and size.

    Args:
        alpha: Of the distribution, 0 or more; 0 mixes nothing.
        scale: The smallest and the largest side, in [0, 1].
        crop: The side of the partner's center that is pasted, in (0, 1]; 1 pastes all of it.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self, alpha: float = 1.0, scale: Sequence[float] = (0.1, 0.8), crop: float = 0.9
    ) -> None:
        self.alpha = _checked(alpha)
        if len(scale) != 2 or not 0 <= scale[0] <= scale[1] <= 1:
            expected = "needs the smallest and the largest side, in [0, 1]"
            raise ValueError(f"scale: found {scale}; {expected}")
        if not 0 < crop <= 1:
            raise ValueError(f"crop: found {crop}; needs a number in (0, 1]")
        self.scale = tuple(scale)
        self.crop = crop

    def __call__(
        self, rows: Tensor, partners: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Pastes partners, see :class:`Mixing`.

        Raises:
            ValueError: If the rows are not images.
        """
        if rows.ndim != 4 or not rows.is_floating_point():
            found = f"{rows.dtype} {tuple(rows.shape)}"
            expected = "needs floating point (N, D, H, W); parts.Mixup takes rows of any shape"
            raise ValueError(f"resize-mix pastes images: found {found}; {expected}")
        height, width = rows.shape[-2:]
        top, bottom, left, right = self._box(height, width, generator)
        area = (bottom - top) * (right - left)
        shares = rows.new_full((len(rows),), 1 - area / (height * width))
        if area == 0 or len(rows) == 0:
            return rows, shares
        size = (bottom - top, right - left)
        mixed = rows.clone()
        mixed[..., top:bottom, left:right] = F.interpolate(self._center(partners), size)
        return mixed, shares

    def _box(self, height: int, width: int, generator: torch.Generator) -> tuple[int, ...]:
        """Where the partner goes: top, bottom, left and right, the ends excluded."""
        low, high = self.scale
        side = 0.0
        if self.alpha:
            drawn = draw_beta(1, self.alpha, generator).sqrt()
            side = low + (high - low) * float(drawn)
        return (*_span(height, side, generator), *_span(width, side, generator))

    def _center(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        inner_height, inner_width = max(int(height * self.crop), 1), max(int(width * self.crop), 1)
        top, left = (height - inner_height) // 2, (width - inner_width) // 2
        return images[..., top : top + inner_height, left : left + inner_width]


def _span(length: int, side: float, generator: torch.Generator) -> tuple[int, int]:
    center = int(torch.randint(length, (), generator=generator))
    half = int(length * side) // 2
    return max(center - half, 0), min(center + half, length)


def draw_beta(count: int, alpha: float, generator: torch.Generator) -> Tensor:
    """Draws from Beta(alpha, alpha), exactly.

    Args:
        count: How many numbers, zero or more.
        alpha: 0 or more; 0 draws ones.
        generator: What is drawn from: one number, which seeds NumPy's generator.

    Returns:
        float64 (count,), in [0, 1], on the CPU.
    """
    if alpha == 0:
        return torch.ones(count, dtype=torch.float64)
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    return torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, count))


def blend(shares: Tensor, own: Tensor, partners: Tensor) -> Tensor:
    """``share * own + (1 - share) * partner`` for every row.

    Args:
        shares: (N,), in [0, 1].
        own: (N, ...), floating point, such as rows or their labels.
        partners: (N, ...), of the same shape.

    Returns:
        (N, ...), of the dtype of `own`.
    """
    shares = shares.to(own.dtype).reshape(-1, *[1] * (own.ndim - 1))
    return torch.lerp(partners.to(own.dtype), own, shares)


def partners_within(chosen: Tensor, generator: torch.Generator) -> Tensor:
    """Draws a permutation that leaves chosen rows among themselves, and the others too.

    Args:
        chosen: Which rows are chosen (N,), bool.
        generator: What is drawn from.

    Returns:
        The position of each row's partner (N,), int64; a row may be its own.
    """
    drawn = torch.randperm(len(chosen), generator=generator).to(chosen.device)
    order = (~chosen * len(chosen) + drawn).argsort()  # chosen rows first, in random order
    places = (~chosen).to(torch.int8).argsort(stable=True)
    return torch.empty_like(order).scatter_(0, places, order)


def partners_among(allowed: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draws a partner for each row from those that are allowed, all of them equally likely.

    Args:
        allowed: Which of K candidates each row may have (N, K), bool.
        generator: What is drawn from.

    Returns:
        The position of each row's partner (N,), int64, and whether it has one (N,), bool; that of
        a row without is 0.
    """
    if allowed.shape[1] == 0:
        none = torch.zeros(len(allowed), dtype=torch.int64, device=allowed.device)
        return none, none.bool()
    drawn = torch.rand(allowed.shape, generator=generator).to(allowed.device)
    found = allowed.any(dim=1)
    return torch.where(allowed, drawn, -1).argmax(dim=1) * found, found


def _checked(alpha: float) -> float:
    if alpha < 0:
        raise ValueError(f"alpha: found {alpha}; needs a number of 0 or more")
    return alpha
