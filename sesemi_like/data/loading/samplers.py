"""The rows that a pass reads and their order: reshuffled each pass, divided among processes."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from .seeds import preserve_generators, seed_generators, seed_of

Order = npt.NDArray[np.int64]

_PLACES_OF_BATCH = 2**32
"""Places reserved for each batch of a batch sampler, so that no two batches share one."""

_MAX_CHECKED = 100_000


def sampler_problem(sampler: Any, num_rows: int) -> str | None:
    """Checks that a data loader can use a sampler of rows or of batches.

    Args:
        sampler: The sampler; up to 100,000 items of a pass are drawn.
        num_rows: Rows of its data set.

    Returns:
        What is wrong and what is required, or None where nothing is wrong.
    """
    try:
        length = len(sampler)
        items = list(itertools.islice(sampler, _MAX_CHECKED))
    except TypeError as error:
        return f"needs a length and an order, as torch.utils.data.Sampler ({error})"
    if not length or not items:
        return "returns no rows"
    if length < len(items):
        return f"has a length of {length}, and returns more"
    rows = (row for item in items for row in (item if isinstance(item, Iterable) else [item]))
    wrong = next((row for row in rows if not _is_row(row, num_rows)), None)
    if wrong is None:
        return None
    return f"returns {wrong!r}; its rows must be integers from 0 to {num_rows - 1}"


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

    def order(self, number: int) -> Order:
        """The rows of a pass in the order in which they are read."""
        if not self.shuffle:
            return np.arange(self.num_rows)
        generator = np.random.Generator(np.random.PCG64([self.seed, number]))
        return generator.permutation(self.num_rows)


class ClassBalancedSampler(PassSampler):
    """Draws rows with replacement so that every class is equally likely; never unlabeled ones.

    Args:
        dataset: A data set with `targets`.
        num_samples: Rows of a pass; None is as many as are labeled.
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

    def order(self, number: int) -> Order:
        """Draws the rows of a pass."""
        generator = np.random.Generator(np.random.PCG64([self.seed, number]))
        classes = generator.integers(len(self.rows_by_class), size=self.num_rows)
        places = generator.random(self.num_rows)
        sizes = np.array([len(rows) for rows in self.rows_by_class])
        offsets = (places * sizes[classes]).astype(np.int64)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        rows: Order = np.concatenate(self.rows_by_class)[starts[classes] + offsets]
        return rows


class RepeatedShard(Sampler[Any]):
    """A process's share of one or several passes of a sampler of rows or of batches.

    Every process gets equally many: the first ones are read again to fill up the last share. A
    custom sampler may draw from the generators of torch, NumPy and Python, which are seeded before
    each of its passes, so that all processes and resumed runs see the same pass.

    Args:
        sampler: Iterates over the rows of a pass, or over its batches.
        seed: Seeds what the sampler draws.
        repeat: Passes of `sampler` that make one pass of this.
        rank: The number of this process.
        world_size: The number of processes.
    """

    def __init__(
        self,
        sampler: Iterable[Any],
        *,
        seed: int = 0,
        repeat: int = 1,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.sampler = sampler
        self.seed = seed
        self.repeat = repeat
        self.rank = rank
        self.world_size = world_size
        self.next_pass = self.skipped = 0

    def __len__(self) -> int:
        return math.ceil(self.num_items / self.world_size)

    @property
    def num_items(self) -> int:
        """Rows or batches of a pass over all processes, without those that are read again."""
        return self.repeat * len(self.sampler)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        rows = [row for _ in range(self.repeat) for row in self._pass()]
        missing = -len(rows) % self.world_size
        rows += list(itertools.islice(itertools.cycle(rows), missing))
        skipped, self.skipped = self.skipped, 0
        return iter(rows[self.rank :: self.world_size][skipped:])

    def _pass(self) -> list[Any]:
        number, self.next_pass = self.next_pass, self.next_pass + 1
        if isinstance(self.sampler, PassSampler):
            return list(self.sampler)  # seeded by itself
        with preserve_generators():
            seed_generators(seed_of(self.seed, f"order {number}"))
            return list(self.sampler)

    def set_pass(self, number: int, skipped: int = 0) -> None:
        """Continues as after a number of passes of this sampler.

        Args:
            number: The number of passes.
            skipped: Rows or batches that the next pass leaves out, as they have been read before.
        """
        self.skipped = skipped
        self.next_pass = number * self.repeat
        if isinstance(self.sampler, PassSampler):
            self.sampler.next_pass = self.next_pass


class Rows(list[int]):
    """The rows of a batch, with their places in a pass; it is sent to worker processes whole.

    Args:
        rows: The rows.
        number: The number of the pass.
        places: The place of each row in the pass over all processes, unique in the pass.
    """

    def __init__(self, rows: Iterable[int] = (), number: int = 0, places: range = range(0)) -> None:
        super().__init__(rows)
        self.number, self.places = number, places


class RowBatches(Sampler[Rows]):
    """A process's batches of rows, with their places in a pass.

    Args:
        shard: Its share of the rows of a pass; or of the batches, if there is no batch size.
        batch_size: Rows of a batch.
        drop_last: Whether a last batch of fewer rows is left out, counted over all processes: one
            that only rows read again would fill is left out, as it would be on a single process.
    """

    def __init__(
        self, shard: RepeatedShard, batch_size: int | None = None, drop_last: bool = False
    ) -> None:
        self.shard, self.batch_size, self.drop_last = shard, batch_size, drop_last
        self.number = self.skipped = 0

    def __len__(self) -> int:
        if self.batch_size is None:
            return len(self.shard)
        if self.drop_last:
            return self.shard.num_items // (self.batch_size * self.shard.world_size)
        return -(-len(self.shard) // self.batch_size)

    def __iter__(self) -> Iterator[Rows]:
        # Only when the first batch is requested: a loader with workers makes two iterators.
        skipped, self.skipped = self.skipped, 0
        batches = self._given_batches if self.batch_size is None else self._cut_batches
        yield from batches(iter(self.shard), self.number, skipped)

    def _given_batches(self, batches: Iterator[Any], number: int, skipped: int) -> Iterator[Rows]:
        for own, batch in enumerate(batches, skipped):
            rows = list(batch)
            start = (own * self.shard.world_size + self.shard.rank) * _PLACES_OF_BATCH
            yield Rows(rows, number, range(start, start + len(rows)))

    def _cut_batches(self, rows: Iterator[int], number: int, skipped: int) -> Iterator[Rows]:
        size, step = self.batch_size or 1, self.shard.world_size
        for own in range(skipped, len(self)):
            batch = list(itertools.islice(rows, size))
            if not batch or (self.drop_last and len(batch) < size):
                return
            start = own * size * step + self.shard.rank
            yield Rows(batch, number, range(start, start + len(batch) * step, step))

    def set_pass(self, number: int, skipped: int = 0) -> None:
        """Continues as after a number of passes; unless it is called, every pass is the first one.

        Args:
            number: The number of passes.
            skipped: Batches that the next pass leaves out, as they have been read before.
        """
        self.number, self.skipped = number, skipped
        self.shard.set_pass(number, skipped * (self.batch_size or 1))
