"""Rows in file order, cut into parts of whole batches, which several processes share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch.utils.data import DataLoader, Sampler

from ..batches import Batch
from .samplers import Rows


@dataclass(frozen=True)
class RowParts:
    """The parts that the rows of a data set are cut into.

    A batch begins where its part begins, whoever reads it, so that each row is always computed
    together with the same others.

    Attributes:
        num_rows: The rows of the data set.
        batch_size: Rows of a batch.
        part_size: Rows of a part, a multiple of the batch size.
    """

    num_rows: int
    batch_size: int
    part_size: int

    @classmethod
    def of(cls, num_rows: int, batch_size: int, least: int) -> RowParts:
        """Cuts rows into parts of whole batches.

        Args:
            num_rows: The rows of the data set.
            batch_size: Rows of a batch.
            least: Rows that a part has at least, the last one excepted.
        """
        return cls(num_rows, batch_size, -(-least // batch_size) * batch_size)

    def __len__(self) -> int:
        return -(-self.num_rows // self.part_size)

    def rows(self, part: int) -> range:
        """The rows of a part."""
        start = part * self.part_size
        return range(start, min(start + self.part_size, self.num_rows))

    def num_batches(self, part: int) -> int:
        """The batches of a part."""
        return -(-len(self.rows(part)) // self.batch_size)


class PartBatches(Sampler[Rows]):
    """The batches of some parts, one part after the other.

    Args:
        parts: All parts.
        chosen: The numbers of those that are read.
        num_batches: Batches in all: where the parts have fewer, the first one of the data set is
            read again until there are as many, for processes that have to compute equally many.
    """

    def __init__(self, parts: RowParts, chosen: Sequence[int], num_batches: int) -> None:
        self.parts, self.chosen, self.num_batches = parts, chosen, num_batches

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[Rows]:
        count = 0
        for part in self.chosen:
            rows = self.parts.rows(part)
            for start in range(rows.start, rows.stop, self.parts.batch_size):
                count += 1
                yield self._batch(start, rows.stop)
        for _ in range(count, self.num_batches):
            yield self._batch(0, self.parts.rows(0).stop)

    def _batch(self, start: int, stop: int) -> Rows:
        places = range(start, min(start + self.parts.batch_size, stop))
        return Rows(places, 0, places)


class LoadedBatches:
    """The batches of a loader, which Lightning takes as they are: it would rebuild a loader.

    Args:
        loader: The loader.
    """

    def __init__(self, loader: DataLoader[Batch]) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.loader)
