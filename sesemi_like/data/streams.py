"""Iterable data sets of samples, divided among processes and workers."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from torch.utils.data import IterableDataset, get_worker_info

from ..errors import UnreadableSampleError
from .samples import Sample, as_fields, check_target, declared_fields


class StreamedSamples(IterableDataset[Sample]):
    """An iterable data set of dict samples; each process and worker takes every k-th sample.

    Args:
        source: Any iterable of samples.

    Attributes:
        classes: The names of the classes, or None where they have none.
        rank: The number of this process.
        world_size: The number of processes.
        on_error: As in :class:`Samples`; ``skip`` needs a data set that can skip.
        num_classes: As in :class:`Samples`.
        fields: As in :class:`Samples`; the source's own attribute `fields`, if it is of names.
    """

    num_classes: int | None = None

    can_skip: ClassVar[bool] = False
    """Whether iteration can continue after a sample that cannot be read."""

    def __init__(self, source: Any) -> None:
        self.source = source
        self.classes: list[str] | None = getattr(source, "classes", None) or None
        self.rank, self.world_size = 0, 1
        self.on_error = "raise"
        self.fields = declared_fields(source)

    @property
    def num_samples(self) -> int | None:
        """The number of samples over all processes, or None where it is not known."""
        return None

    @property
    def pass_length(self) -> int | None:
        """The batches of a pass that every process has, or None where it is not known."""
        return None

    def for_process(
        self,
        rank: int,
        world_size: int,
        *,
        batch_size: int = 1,
        drop_last: bool = False,
        shuffle: bool = False,
        seed: int = 0,
    ) -> StreamedSamples:
        """Copies the data set for one process, which reads its own share of the samples.

        Args:
            rank: The number of the process.
            world_size: The number of processes.
            batch_size: Samples per batch.
            drop_last: Whether an incomplete last batch is left out.
            shuffle: Whether each pass has its own order; streams without random access ignore it.
            seed: Seeds the orders.
        """
        own = copy.copy(self)
        own.rank, own.world_size = rank, world_size
        return own

    def names_at(self, positions: Iterable[int]) -> list[str]:
        """The numbers of samples, which have no other names.

        Args:
            positions: Their positions, as in the field `index`.
        """
        return [str(int(position)) for position in positions]

    def set_pass(self, number: int, skipped_batches: int = 0) -> None:
        """Sets the next pass, for streams whose order depends on it; others start again.

        Args:
            number: The number of the pass, from 0.
            skipped_batches: Batches of it that have been read before and are left out.
        """

    def __iter__(self) -> Iterator[Sample]:
        worker = get_worker_info()
        workers, number = (worker.num_workers, worker.id) if worker else (1, 0)
        own, step = self.rank * workers + number, self.world_size * workers
        for position, content in enumerate(self.source):
            if position % step == own:
                sample = as_fields(content)
                self._check(sample, position)
                yield {**sample, "index": position}

    def _check(self, sample: Sample, position: int) -> None:
        if "target" in self.fields and "target" not in sample:
            return
        try:
            check_target(sample, self.num_classes)
        except ValueError as error:
            raise UnreadableSampleError(f"sample {position} of the stream: {error}") from error
