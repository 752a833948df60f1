"""Which rows a pass reads, in which order: reshuffled each pass, shared out over processes."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

Rows = npt.NDArray[np.int64]


_LOOKED_AT = 100_000


def sampler_problem(sampler: Any, num_rows: int) -> str | None:
    """Looks for what a data loader cannot work with in a sampler of rows or of batches.

    Args:
        sampler: The sampler; up to 100,000 items of a pass are drawn.
        num_rows: Rows of its data set.

    Returns:
        What would be right, or None where nothing is wrong.
    """
    try:
        length = len(sampler)
        items = list(itertools.islice(sampler, _LOOKED_AT))
    except TypeError as error:
        return f"needs a length and an order, as torch.utils.data.Sampler ({error})"
    if not length or not items:
        return "gives no rows"
    if length < len(items):
        return f"has a length of {length}, and gives more"
    rows = (row for item in items for row in (item if isinstance(item, Iterable) else [item]))
    wrong = next((row for row in rows if not _is_row(row, num_rows)), None)
    if wrong is None:
        return None
    return f"gives {wrong!r}; its rows must be whole numbers from 0 to {num_rows - 1}"


def _is_row(row: Any, num_rows: int) -> bool:
    try:
        return 0 <= operator.index(row) < num_rows
    except TypeError:
        return False


class PassSampler(Sampler[int]):
    """Reads every row once a pass, in file order or in a new random order each pass.

    The order of pass k is drawn from ``PCG64((seed, k))`` alone, so a resumed run continues with
    the orders it would have had.

    Args:
        num_rows: Rows of the data set.
        shuffle: Whether each pass has an order of its own.
        seed: Seeds the orders.
    """

    def __init__(self, num_rows: int, *, shuffle: bool = False, seed: int = 0) -> None:
        self.num_rows = num_rows
        self.shuffle = shuffle
        self.seed = seed
        self.next_pass = 0

    def __len__(self) -> int:
        return self.num_rows

    def __iter__(self) -> Iterator[int]:
        rows = self.order(self.next_pass)
        self.next_pass += 1
        return iter(rows.tolist())

    def order(self, number: int) -> Rows:
        """The rows of a pass in the order in which they are read."""
        if not self.shuffle:
            return np.arange(self.num_rows)
        generator = np.random.Generator(np.random.PCG64([self.seed, number]))
        return generator.permutation(self.num_rows)


class ClassBalancedSampler(PassSampler):
    """Draws rows with replacement so that every class is equally likely; unlabelled rows never.

    Args:
        dataset: A data set with `targets`.
        num_samples: Rows of a pass; None is as many as are labelled.
        seed: Seeds the draws.

    Raises:
        ValueError: If no row has a label.
    """

    def __init__(self, dataset: Any, num_samples: int | None = None, *, seed: int = 0) -> None:
        targets = getattr(dataset, "targets", None)
        targets = np.empty(0, np.int64) if targets is None else np.asarray(targets)
        classes = np.unique(targets[targets >= 0])
        if not len(classes):
            raise ValueError("class_balanced needs labels, and this data set has none")
        self.rows_by_class = [np.flatnonzero(targets == label) for label in classes]
        super().__init__(num_samples or int((targets >= 0).sum()), shuffle=True, seed=seed)

    def order(self, number: int) -> Rows:
        """Draws the rows of a pass."""
        generator = np.random.Generator(np.random.PCG64([self.seed, number]))
        classes = generator.integers(len(self.rows_by_class), size=self.num_rows)
        places = generator.random(self.num_rows)
        sizes = np.array([len(rows) for rows in self.rows_by_class])
        chosen = (places * sizes[classes]).astype(np.int64)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        rows: Rows = np.concatenate(self.rows_by_class)[starts[classes] + chosen]
        return rows


class RepeatedShard(Sampler[Any]):
    """A process's share of one or several passes of a sampler of rows or of batches.

    Every process gets equally many: the first ones are read again to fill up the last share.

    Args:
        sampler: Gives the rows of a pass, or its batches; the same ones on every process.
        repeat: Passes of `sampler` that make one of this.
        rank: The number of this process.
        world_size: How many processes there are.
    """

    def __init__(
        self, sampler: Iterable[Any], *, repeat: int = 1, rank: int = 0, world_size: int = 1
    ) -> None:
        self.sampler = sampler
        self.repeat = repeat
        self.rank = rank
        self.world_size = world_size
        self.skipped = 0

    def __len__(self) -> int:
        return math.ceil(self.repeat * len(self.sampler) / self.world_size)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        rows = [row for _ in range(self.repeat) for row in self.sampler]
        missing = -len(rows) % self.world_size
        rows += list(itertools.islice(itertools.cycle(rows), missing))
        skipped, self.skipped = self.skipped, 0
        return iter(rows[self.rank :: self.world_size][skipped:])

    def set_pass(self, number: int, skipped: int = 0) -> None:
        """Continues as if `number` passes of this sampler had been made.

        Args:
            number: Passes.
            skipped: Rows or batches that the next pass leaves out, as read before.
        """
        self.skipped = skipped
        if isinstance(self.sampler, PassSampler):
            self.sampler.next_pass = number * self.repeat
