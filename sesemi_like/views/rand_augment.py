"""RandAugment as FixMatch uses it: random operations with random magnitudes, then cutout.

Shapes: N images, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from sesemi_like.errors import suggest
from sesemi_like.views import operations as ops
from sesemi_like.views.base import TensorView
from sesemi_like.views.checks import check, integer, number
from sesemi_like.views.draws import rand, randint, to_device_of, uniform
from sesemi_like.views.erasing import Cutout
from sesemi_like.views.warping import warp


@dataclass(frozen=True)
class Operation:
    """An operation and the range its magnitudes are drawn from.

    Attributes:
        apply: (images (N, C, H, W), magnitudes (N,)) -> images.
        low: Lower end of the range.
        high: Upper end of the range.
    """

    apply: Callable[[Tensor, Tensor], Tensor]
    low: float = 0.0
    high: float = 1.0

    def __call__(self, images: Tensor, levels: Tensor) -> Tensor:
        """Applies the operation at levels (N,) in [0, 1] of its range."""
        return self.apply(images, self.low + (self.high - self.low) * levels)


@dataclass(frozen=True)
class Warp(Operation):
    """An operation that moves pixels: its `apply` returns affine maps (N, 2, 3)."""


def fixmatch_pool() -> dict[str, Operation]:
    """Lists FixMatch's operations and ranges (arXiv:2001.07685, appendix, RandAugment's table).

    Returns:
        14 operations by name, those that move pixels last.
    """
    return {
        "autocontrast": Operation(ops.autocontrast),
        "brightness": Operation(ops.brightness, 0.05, 0.95),
        "color": Operation(ops.color, 0.05, 0.95),
        "contrast": Operation(ops.contrast, 0.05, 0.95),
        "equalize": Operation(ops.equalize),
        "identity": Operation(ops.identity),
        "posterize": Operation(ops.posterize, 4, 8),
        "sharpness": Operation(ops.sharpness, 0.05, 0.95),
        "solarize": Operation(ops.solarize),
        "rotate": Warp(ops.rotate, -30, 30),
        "shear_x": Warp(ops.shear_x, -0.3, 0.3),
        "shear_y": Warp(ops.shear_y, -0.3, 0.3),
        "translate_x": Warp(ops.translate_x, -0.3, 0.3),
        "translate_y": Warp(ops.translate_y, -0.3, 0.3),
    }


class RandAugment(TensorView):
    """Applies random operations with random magnitudes to each image, then cutout.

    Operations and ranges are those of FixMatch's paper (arXiv:2001.07685, appendix). Its
    published code differs: it applies each operation with probability 0.5 (`p: 0.5`) and draws
    factors of brightness, color, contrast and sharpness from [0.28, 1.72]. As there, uncovered
    and cut-out pixels are gray. Images are taken to be in [0, 1]: normalize afterwards.

    Args:
        num_ops: Operations drawn for each image, with replacement, applied one after the other.
        operations: Names of the operations to draw from; None takes FixMatch's 14.
        p: Probability that a drawn operation is applied, in [0, 1].
        fill: Value of uncovered and cut-out pixels, in [0, 1].
        cutout_size: Side of the square cut out at the end as a share of the image's shorter
            side, in [0, 1]; 0 leaves it out.

    Raises:
        ValueError: An argument is out of range or an operation unknown.
    """

    def __init__(
        self,
        num_ops: int = 2,
        operations: Sequence[str] | None = None,
        p: float = 1.0,
        fill: float = 0.5,
        cutout_size: float = 0.5,
    ) -> None:
        self.num_ops = integer("num_ops", num_ops, 0)
        self.pool = operations_named(operations)
        self.fill = number("fill", fill, 0, 1)
        self.p = number("p", p, 0, 1)
        self.cutout = Cutout(number("cutout_size", cutout_size, 0, 1), value=fill)

    def transform(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Changes each image by its own draws."""
        for _ in range(self.num_ops):
            images = self.apply_random_operation(images, generator)
        return self.cutout(images, generator) if self.cutout.size else images

    def apply_random_operation(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Applies one drawn operation to each image."""
        drawn = self.draw_operations(len(images), generator)
        levels = uniform(images, 0, 1, generator)
        # Sorted by operation, each one works on a single slice of the batch.
        order = drawn.argsort(stable=True)
        counts = torch.bincount(drawn, minlength=len(self.pool) + 1).tolist()
        there, back = to_device_of(order, images), to_device_of(order.argsort(), images)
        parts = images.index_select(0, there).split(counts), levels[there].split(counts)
        groups = zip([*self.pool, Operation(ops.identity)], *parts, strict=True)
        drawn_groups = [group for group in groups if len(group[1])]
        changed = [
            self.apply_groups(list(run), is_warp)
            for is_warp, run in groupby(drawn_groups, lambda group: isinstance(group[0], Warp))
        ]
        return torch.cat(changed).index_select(0, back) if changed else images

    def apply_groups(self, groups: list[tuple[Operation, Tensor, Tensor]], is_warp: bool) -> Tensor:
        """Applies each group's operation; those that move pixels are carried out at once."""
        results = torch.cat([operation(images, levels) for operation, images, levels in groups])
        if not is_warp:
            return results
        return warp(torch.cat([images for _, images, _ in groups]), results, fill=self.fill)

    def draw_operations(self, count: int, generator: torch.Generator | None) -> Tensor:
        """Draws an operation for each image: int64 (N,) on the CPU; the pool's size is none."""
        chosen = randint(len(self.pool), (count,), generator)
        if self.p == 1:
            return chosen
        left_alone = rand((count,), generator) >= self.p
        return chosen.masked_fill(left_alone, len(self.pool))


def operations_named(
    names: Sequence[str] | None, pool: Mapping[str, Operation] | None = None
) -> list[Operation]:
    """Looks operations up by name; None takes all. Raises ValueError for unknown names.

    Args:
        names: Their names.
        pool: Operations by name; None is FixMatch's.
    """
    pool = fixmatch_pool() if pool is None else pool
    names = list(pool) if names is None else list(names)
    check(len(names) > 0, "operations", names, "at least one name")
    for name in names:
        check(name in pool, "operations", name, suggest(name, pool, noun="known operations"))
    return [pool[name] for name in names]
