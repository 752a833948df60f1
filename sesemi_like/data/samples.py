"""What a data set hands out: samples as dicts of named fields, whatever it is made of."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from ..errors import UnreadableSampleError
from .batches import StackedSamples
from .packed_names import PackedNames
from .readers import BatchReader, Draws, ReaderOfKnownDraws

Sample = dict[str, Any]
Targets = npt.NDArray[np.int64]

log = logging.getLogger(__name__)

UNLABELED = -1
"""The target of a sample without a label."""

UNREADABLE = (OSError, SyntaxError, ValueError)
"""What Pillow raises for broken files."""


def check_target(sample: Mapping[str, Any], num_classes: int | None) -> None:
    """Refuses a sample whose label is none of the classes.

    Args:
        sample: The sample.
        num_classes: How many classes there are; None knows of none, so that nothing is wrong.

    Raises:
        ValueError: If it has no `target`, or one that is no class and not -1.
    """
    if num_classes is None:
        return
    target = sample.get("target")
    if target is None:
        raise ValueError(f"it has no target; needs a class, or {UNLABELED} for no label")
    if np.ndim(target) == 0 and not UNLABELED <= int(target) < num_classes:
        raise ValueError(
            f"its target is {int(target)}; needs a class below {num_classes}, which is num_classes "
            f"of the learner, or {UNLABELED} for no label"
        )


class Samples(Dataset[Sample]):
    """A map-style data set of dict samples.

    A sample has the fields its source reads (usually `image`), `target` (an int class index, -1
    without a label) and `index`, its position in the data set as it lies on the disk.

    Args:
        read: Maps a position to a mapping of fields.
        ids: A stable name for each position: a relative path or a running number.
        targets: A class index for each position, -1 for none, or None where samples carry whatever
            target they have.
        classes: The names of the classes, or None where they have none.
        on_error: ``raise`` ends at a sample that cannot be read; ``skip`` logs its name and
            delivers the next readable one, with that one's own target and index.

    Attributes:
        num_classes: How many classes the targets that samples carry may name; None is any number.
    """

    num_classes: int | None = None

    def __init__(
        self,
        read: Callable[[int], Mapping[str, Any]],
        ids: Iterable[str],
        targets: Targets | None = None,
        classes: list[str] | None = None,
        on_error: str = "raise",
    ) -> None:
        self.read = read
        self.ids = ids if isinstance(ids, PackedNames) else PackedNames(map(str, ids))
        self.classes = classes
        self.on_error = on_error
        self.positions: npt.NDArray[np.int64] = np.arange(len(self.ids))
        self.targets = targets
        # In shared memory, so that what worker processes could not read is known here.
        self._unreadable = torch.zeros(len(self.ids), dtype=torch.bool).share_memory_()

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, row: int) -> Sample:
        if self.on_error == "raise":
            return self._sample(row)
        for candidate in range(row, row + len(self)):
            try:
                return self._sample(candidate % len(self))
            except UnreadableSampleError as error:
                self._note(candidate % len(self), error)
        raise UnreadableSampleError(f"none of the {len(self)} samples can be read")

    def __getitems__(self, rows: list[int]) -> list[Sample] | StackedSamples:
        """Reads the samples of a batch, at once where their reader can."""
        if not isinstance(self.read, BatchReader):
            return [self[row] for row in rows]
        chosen = np.asarray(rows)
        fields = {**self.read.take(self.positions[chosen])}
        if self.targets is not None:
            fields["target"] = torch.from_numpy(self.targets[chosen])
        return StackedSamples({**fields, "index": torch.from_numpy(self.positions[chosen])})

    def _sample(self, row: int) -> Sample:
        position = int(self.positions[row])
        try:
            sample = dict(self.read(position))
            if self.targets is None:
                check_target(sample, self.num_classes)
        except UNREADABLE as error:
            raise UnreadableSampleError(f"{self.ids[position]} cannot be read: {error}") from error
        if self.targets is not None:
            sample["target"] = int(self.targets[row])
        sample["index"] = position
        return sample

    def _note(self, row: int, error: UnreadableSampleError) -> None:
        position = int(self.positions[row])
        if not self._unreadable[position]:
            self._unreadable[position] = True
            log.warning("skipped (%d so far): %s", len(self.skipped), error)

    @property
    def may_be_read(self) -> npt.NDArray[np.bool_]:
        """For each row, whether its sample is not known to be unreadable (N,)."""
        unreadable: npt.NDArray[np.bool_] = self._unreadable.numpy()
        return ~unreadable[self.positions]

    def note_unreadable(self, positions: npt.NDArray[np.int64]) -> None:
        """Counts samples as skipped that are known not to be readable."""
        self._unreadable[torch.from_numpy(positions)] = True

    @property
    def draws(self) -> Draws:
        """The random generators that reading a sample draws from."""
        return self.read.draws if isinstance(self.read, ReaderOfKnownDraws) else Draws.ANY

    @property
    def reads_batches(self) -> bool:
        """Whether several samples are read at once."""
        return isinstance(self.read, BatchReader)

    @property
    def skipped(self) -> list[str]:
        """The names of the samples that could not be read so far, in any worker process."""
        return [self.ids[int(position)] for position in self._unreadable.nonzero()]

    def select(self, rows: npt.NDArray[np.int64], targets: Targets | None = None) -> Samples:
        """The same data set with some of its rows, in this order.

        Args:
            rows: The rows to keep.
            targets: A target for each kept row; None keeps their own.
        """
        chosen = copy.copy(self)
        chosen.positions = self.positions[rows]
        if self.targets is not None:
            chosen.targets = self.targets[rows] if targets is None else targets
        return chosen

    @property
    def num_samples(self) -> int:
        """How many samples there are."""
        return len(self)

    def row_ids(self) -> list[str]:
        """The stable name of each row."""
        return self.names_at(self.positions)

    def names_at(self, positions: Iterable[int]) -> list[str]:
        """The stable names of samples.

        Args:
            positions: Their positions, as in the field `index`.
        """
        return [self.ids[int(position)] for position in positions]


class StreamedSamples(IterableDataset[Sample]):
    """An iterable data set of dict samples; each process and worker takes every k-th sample.

    Args:
        source: Any iterable of samples.

    Attributes:
        classes: The names of the classes, or None where they have none.
        rank: The number of this process.
        world_size: How many processes there are.
        on_error: As in :class:`Samples`; ``skip`` needs a data set that can.
        num_classes: As in :class:`Samples`.
    """

    num_classes: int | None = None

    can_skip: ClassVar[bool] = False
    """Whether it can go on after a sample that cannot be read."""

    def __init__(self, source: Any) -> None:
        self.source = source
        self.classes: list[str] | None = getattr(source, "classes", None) or None
        self.rank, self.world_size = 0, 1
        self.on_error = "raise"

    @property
    def num_samples(self) -> int | None:
        """How many samples there are in all, or None where that is not known."""
        return None

    @property
    def pass_length(self) -> int | None:
        """Batches of a pass that every process has, or None where that is not known."""
        return None

    def shared_out(
        self,
        rank: int,
        world_size: int,
        *,
        batch_size: int = 1,
        drop_last: bool = False,
        shuffle: bool = False,
        seed: int = 0,
    ) -> StreamedSamples:
        """The same data set for one process of several.

        Args:
            rank: Its number.
            world_size: How many processes there are.
            batch_size: Rows of the batches that are made of the samples.
            drop_last: Whether an incomplete batch is left out.
            shuffle: Whether each pass has an order of its own, for streams that can have one.
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
        """Says which pass comes next, for streams that have orders; others begin anew.

        Args:
            number: Passes before it.
            skipped_batches: Batches of it that are left out, as read before.
        """

    def __iter__(self) -> Iterator[Sample]:
        worker = get_worker_info()
        workers, number = (worker.num_workers, worker.id) if worker else (1, 0)
        own, every = self.rank * workers + number, self.world_size * workers
        for position, sample in enumerate(self.source):
            if position % every == own:
                yield {**self._checked(as_fields(sample), position), "index": position}

    def _checked(self, sample: Sample, position: int) -> Sample:
        try:
            check_target(sample, self.num_classes)
        except ValueError as error:
            raise UnreadableSampleError(f"sample {position} of the stream: {error}") from error
        return sample


def as_fields(sample: Any) -> Sample:
    """Names the parts of a sample: a mapping as it is, ``(image, target)``, or an image alone."""
    if isinstance(sample, Mapping):
        return dict(sample)
    if isinstance(sample, tuple | list) and len(sample) == 2:
        return {"image": sample[0], "target": sample[1]}
    return {"image": sample}


class _FieldReader:
    """Reads the samples of any data set as fields."""

    def __init__(self, source: Any) -> None:
        self.source = source

    def __call__(self, position: int) -> Sample:
        return as_fields(self.source[position])


def as_samples(source: Any) -> Samples | StreamedSamples:
    """Makes dict samples of any torch data set; its `targets` and `classes` are kept if it has any.

    Args:
        source: A map-style data set, or an iterable one.
    """
    if isinstance(source, Samples | StreamedSamples):
        return source
    if isinstance(source, IterableDataset):
        return StreamedSamples(source)
    targets = getattr(source, "targets", None)
    return Samples(
        _FieldReader(source),
        map(str, range(len(source))),
        None if targets is None else np.asarray(targets, dtype=np.int64),
        list(source.classes) if getattr(source, "classes", None) else None,
    )
