"""Pretext tasks: which way an image was turned, how its tiles were shuffled.

The functions work on any type of pixel and are shared with batch-building on the CPU.

Shapes: N images, C channels, H height, W width, T tiles.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sesemi_like.views.checks import check
from sesemi_like.views.crops import center_crop
from sesemi_like.views.draws import integers, to_device_of
from sesemi_like.views.images import as_float
from sesemi_like.views.permutations import permutation_set

TURNS = 4


def rotate_all(images: Tensor) -> tuple[Tensor, Tensor]:
    """Turns each image by 0, 90, 180 and 270 degrees counter-clockwise, as `np.rot90`.

    Args:
        images: (N, C, H, H) of any type.

    Returns:
        The images (4N, C, H, H), the four turns of one image next to each other and channels last
        in memory, and int64 (4N,) targets 0, 1, 2, 3, 0, 1, ...: the number of quarter turns.

    Raises:
        ValueError: The images are not square.
    """
    height, width = images.shape[-2:]
    expected = (
        "square images, because quarter turns of others do not fit into one batch: crop or resize "
        "them to a square first (sesemi_like.views.CenterCrop or Resize)"
    )
    check(height == width, "images", f"height {height}, width {width}", expected)
    # Pixels with their channels are looked up, which is faster than moving each channel.
    places = torch.arange(height * width, device=images.device).reshape(height, width)
    turned = torch.stack([places.rot90(turns) for turns in range(TURNS)]).flatten()
    pixels = images.permute(0, 2, 3, 1).flatten(1, 2).index_select(1, turned)
    result = pixels.reshape(TURNS * len(images), height, width, images.shape[1])
    targets = torch.arange(TURNS, device=images.device).repeat(len(images))
    return result.permute(0, 3, 1, 2), targets


class Rotation:
    """The images turned by quarter turns, and by how many (arXiv:1803.07728).

    To change the images as well, put it at the end of a `Compose`.
    """

    def __call__(
        self, images: Tensor, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Makes the task; draws nothing.

        Args:
            images: (N, C, H, H), uint8 in [0, 255] or float in [0, 1].
            generator: Not needed here.

        Returns:
            `image`: float32 (4N, C, H, H), the four turns of one image next to each other;
            `target`: int64 (4N,), the number of counter-clockwise quarter turns.

        Raises:
            ValueError: The images are not square.
        """
        turned, targets = rotate_all(as_float(images))
        return {"image": turned, "target": targets}


def shuffle_tiles(images: Tensor, permutations: Tensor, grid: int) -> Tensor:
    """Cuts each image into tiles and puts them down in another order.

    Args:
        images: (N, C, H, W) of any type; cropped at the center to multiples of the grid.
        permutations: int64 (N, T): the tile at place j is taken from place permutations[:, j],
            places counted row by row.
        grid: Tiles along a side; T = grid * grid.

    Returns:
        (N, C, H', W'), the multiples of the grid.

    Raises:
        ValueError: An image has fewer pixels along a side than the grid has tiles.
    """
    count, channels, height, width = images.shape
    expected = f"at least {grid} pixels along each side"
    check(min(height, width) >= grid, "images", f"height {height}, width {width}", expected)
    rows, columns = height // grid, width // grid
    cropped = center_crop(images, rows * grid, columns * grid)
    tiles: Tensor = cropped.reshape(count, channels, grid, rows, grid, columns)
    tiles = tiles.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    samples = torch.arange(count, device=images.device)[:, None]
    shuffled = tiles[samples, permutations]
    shuffled = shuffled.reshape(count, grid, grid, channels, rows, columns)
    return shuffled.permute(0, 3, 1, 4, 2, 5).reshape(cropped.shape)


class Jigsaw:
    """The images with their tiles shuffled, and by which permutation (arXiv:1603.09246).

    Args:
        grid: Tiles along a side, 2 or 3.
        num_permutations: Size of the fixed set of permutations, the number of classes; None
            takes all 24 of a 2 x 2 grid and 100 of a 3 x 3 grid (see `permutation_set`).

    Attributes:
        permutations: int64 (P, T), the set; a target is a row of it.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, grid: int = 2, num_permutations: int | None = None) -> None:
        self.permutations = permutation_set(grid, num_permutations)
        self.grid = grid

    def __call__(
        self, images: Tensor, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Makes the task.

        Args:
            images: (N, C, H, W), uint8 in [0, 255] or float in [0, 1]; sides that the grid does
                not divide are cropped at the center.
            generator: Source of the permutations; None takes torch's global one.

        Returns:
            `image`: float32 (N, C, H', W'); `target`: int64 (N,), the row of `permutations`.
        """
        shuffled, targets = self.shuffle(as_float(images), generator)
        return {"image": shuffled, "target": targets}

    def shuffle(
        self, images: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Shuffles images (N, C, H, W) of any type; returns them and int64 (N,) targets."""
        targets = integers(images, len(self.permutations), generator)
        permutations = to_device_of(self.permutations, images)[targets]
        return shuffle_tiles(images, permutations, self.grid), targets
