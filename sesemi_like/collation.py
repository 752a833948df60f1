"""Batch-building callables for a loader's `collate_fn`: pretext tasks instead of labels.

Shapes: N samples, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sesemi_like.views.checks import check
from sesemi_like.views.pretext import TURNS, Jigsaw, rotate_all

Samples = Sequence[Any] | Mapping[str, Tensor]
"""The samples of a batch: one by one, or as stacked fields with a row per sample."""


class RotationTransformer:
    """Builds batches for predicting rotations (arXiv:1803.07728).

    Of N images it makes 4N rows, the four turns of one image next to each other.

    Attributes:
        makes_targets: Whether it creates the targets; the samples' labels are not read then.
        takes_batches: Whether samples that were read at once may be given as stacked fields.
    """

    makes_targets = True
    takes_batches = True

    def __call__(self, samples: Samples) -> dict[str, Tensor]:
        """Builds a batch.

        Args:
            samples: Dicts with `image` (C, H, H), tuples (image, ...) or bare images, all of one
                shape and any type; or their stacked fields, with `image` (N, C, H, H).

        Returns:
            `image`: (4N, C, H, H), type as given; `target`: int64 (4N,), the number of
            counter-clockwise quarter turns; and when the samples have it, `index`: int64 (4N,).

        Raises:
            ValueError: The images are not square, not tensors or of different shapes.
        """
        turned, targets = rotate_all(stack_images(samples))
        return {"image": turned, "target": targets, **repeat_index(samples, TURNS)}


class JigsawTransformer:
    """Builds batches for solving jigsaw puzzles (arXiv:1603.09246).

    Args:
        grid: Tiles along a side, 2 or 3.
        num_permutations: Size of the fixed set of permutations, the number of classes; None
            takes all 24 of a 2 x 2 grid and 100 of a 3 x 3 grid.

    Attributes:
        makes_targets: Whether it creates the targets; the samples' labels are not read then.
        takes_batches: Whether samples that were read at once may be given as stacked fields.

    Raises:
        ValueError: An argument is out of range.
    """

    makes_targets = True
    takes_batches = True

    def __init__(self, grid: int = 2, num_permutations: int | None = None) -> None:
        self.jigsaw = Jigsaw(grid, num_permutations)

    def __call__(
        self, samples: Samples, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Builds a batch.

        Args:
            samples: Dicts with `image` (C, H, W), tuples (image, ...) or bare images, all of one
                shape and any type, or their stacked fields; sides that the grid does not divide
                are cropped at the center.
            generator: Source of the permutations; None takes torch's global one.

        Returns:
            `image`: (N, C, H', W'), type as given; `target`: int64 (N,), the permutation's
            number; and when the samples have it, `index`: int64 (N,).

        Raises:
            ValueError: The images are not tensors or of different shapes.
        """
        shuffled, targets = self.jigsaw.shuffle(stack_images(samples), generator)
        return {"image": shuffled, "target": targets, **repeat_index(samples, 1)}


def stack_images(samples: Samples) -> Tensor:
    """Stacks the samples' images (C, H, W) to (N, C, H, W), or raises ValueError."""
    if isinstance(samples, Mapping):
        return samples["image"]
    images = [image_of(sample) for sample in samples]
    for image in images:
        kind = f"a {type(image).__name__}"
        check(isinstance(image, Tensor), "image", kind, "a tensor: give an image_transform")
    shapes = sorted({tuple(image.shape) for image in images})
    expected = "one shape (C, H, W) in a batch: resize or crop in image_transform"
    check(len(shapes) == 1 and len(shapes[0]) == 3, "image", f"shapes {shapes}", expected)
    return torch.stack(images)


def image_of(sample: Any) -> Any:
    """Returns the image of a dict with `image`, of a tuple or list beginning with it, or itself."""
    if isinstance(sample, Mapping):
        return sample["image"]
    return sample[0] if isinstance(sample, (tuple, list)) else sample


def repeat_index(samples: Samples, times: int) -> dict[str, Tensor]:
    """Returns {`index`: each sample's index so many times in a row}, or nothing without them."""
    if isinstance(samples, Mapping):
        return {"index": samples["index"].repeat_interleave(times)} if "index" in samples else {}
    if not all(isinstance(sample, Mapping) and "index" in sample for sample in samples):
        return {}
    indices = torch.tensor([int(sample["index"]) for sample in samples])
    return {"index": indices.repeat_interleave(times)}
