"""Random draws, one per image of a batch, from a generator on the CPU.

Drawn on the CPU they are the same numbers whatever the device, and what depends on them, such as
the sizes of groups, is known without waiting for the device. Where several processes share a batch
every one of them draws for the whole batch and keeps what belongs to its own images, so that the
images get the draws that one process alone would give them.

Shapes: N images of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor


class SharedGenerator(torch.Generator):
    """A process's share of a generator from which several processes draw for one batch.

    Image i of process r is image ``i * world_size + r`` of the whole batch, as loaders deal rows
    out. The draws of this module are made for the whole batch. Used as a plain generator, as in
    ``torch.rand(n, generator=generator)``, it gives every process different numbers.

    Args:
        seed: Seeds the draws for the whole batch; the same on every process.
        own_seed: Seeds the numbers of its own; another one on every process.
        rank: The number of this process.
        world_size: How many processes there are.

    Attributes:
        whole: The generator of the draws for the whole batch.
    """

    def __init__(self, seed: int, own_seed: int, rank: int, world_size: int) -> None:
        super().__init__()
        self.manual_seed(own_seed)
        self.whole = torch.Generator().manual_seed(seed)
        self.rank, self.world_size = rank, world_size

    def __new__(cls, *args: object) -> SharedGenerator:
        """Makes a generator of the CPU."""
        return super().__new__(cls)


def rand(shape: Sequence[int], generator: torch.Generator | None, *, rows: int = 0) -> Tensor:
    """Draws numbers of [0, 1), as :func:`torch.rand` does.

    Args:
        shape: The shape of the result.
        generator: Source of the draws; None takes torch's global one.
        rows: The dimension of the images.

    Returns:
        float32 on the CPU.
    """
    return _draw_for_batch(torch.rand, shape, generator, rows)


def randint(
    count: int, shape: Sequence[int], generator: torch.Generator | None, *, rows: int = 0
) -> Tensor:
    """Draws integers of 0 ... count - 1, as :func:`torch.randint` does.

    Args:
        count: How many numbers there are to draw from.
        shape: The shape of the result.
        generator: Source of the draws; None takes torch's global one.
        rows: The dimension of the images.

    Returns:
        int64 on the CPU.
    """
    return _draw_for_batch(partial(torch.randint, count), shape, generator, rows)


def _draw_for_batch(
    draw: Callable[..., Tensor],
    shape: Sequence[int],
    generator: torch.Generator | None,
    rows: int,
) -> Tensor:
    if not isinstance(generator, SharedGenerator):
        return draw(tuple(shape), generator=generator)
    whole = [*shape]
    whole[rows] *= generator.world_size
    own = (slice(None),) * rows + (slice(generator.rank, None, generator.world_size),)
    return draw(whole, generator=generator.whole)[own].contiguous()


def uniform(images: Tensor, low: float, high: float, generator: torch.Generator | None) -> Tensor:
    """Draws one number of [low, high) per image: float32 (N,) on the images' device."""
    return low + (high - low) * to_device_of(rand((len(images),), generator), images)


def integers(images: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """Draws one integer of 0 ... count - 1 per image: int64 (N,) on the images' device."""
    return to_device_of(randint(count, (len(images),), generator), images)


def to_device_of(drawn: Tensor, images: Tensor) -> Tensor:
    """Copies drawn numbers to the images' device without waiting for it."""
    return drawn.to(images.device, non_blocking=True)


def constant_like(values: Sequence[float], images: Tensor) -> Tensor:
    """Makes a tensor of the images' type on their device, without waiting for it."""
    return to_device_of(torch.tensor(values, dtype=images.dtype), images)


def apply_to_some(
    images: Tensor, changed: Tensor, probability: float, generator: torch.Generator | None
) -> Tensor:
    """Takes each image from `changed` with a probability, else from `images`.

    Args:
        images: (N, C, H, W) as they were.
        changed: (N, C, H, W) after a change.
        probability: Of taking the changed image, in [0, 1]; at 1 nothing is drawn.
        generator: Source of the draws.

    Returns:
        (N, C, H, W).
    """
    if probability == 1:
        return changed
    return torch.where(as_column(uniform(images, 0, 1, generator) < probability), changed, images)


def as_column(values: Tensor) -> Tensor:
    """Reshapes one value per image (N,) to (N, 1, 1, 1), to be combined with images."""
    return values[:, None, None, None]
