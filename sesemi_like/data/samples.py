"""Map-style data sets of samples, which are dicts of named fields."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

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
    """Checks that the label of a sample is one of the classes.

    Args:
        sample: The sample.
        num_classes: The number of classes; None where it is not known, and any label will do.

    Raises:
        ValueError: If it has no `target`, or one that is neither a class nor -1.
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
    without a label) and `index`, its position in the data set as stored, before any selection. A
    field is any tree: tensors, arrays, numbers and text in dicts and lists.

    Args:
        read: Maps a position to a mapping of fields.
        ids: A stable name for each position: a relative path or a running number.
        targets: A class index for each position, -1 for none; None where `read` returns targets, if
            there are any.
        classes: The names of the classes, or None where they have none.
        on_error: ``raise`` raises for a sample that cannot be read; ``skip`` logs its name and
            returns the next readable one, with that one's own target and index.
        fields: The fields that only some samples have, which the first ones may lack: batches then
            always have them, with the positions ``<field>.row`` of the rows they belong to.

    Attributes:
        num_classes: The number of classes that targets returned by `read` are checked against; None
            checks nothing.
    """

    num_classes: int | None = None

    def __init__(
        self,
        read: Callable[[int], Mapping[str, Any]],
        ids: Iterable[str],
        targets: Targets | None = None,
        classes: list[str] | None = None,
        on_error: str = "raise",
        fields: Iterable[str] = (),
    ) -> None:
        self.read = read
        self.ids = ids if isinstance(ids, PackedNames) else PackedNames(map(str, ids))
        self.classes = classes
        self.on_error = on_error
        self.fields = tuple(fields)
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
                self._log_skipped(candidate % len(self), error)
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
            if self.targets is None and ("target" in sample or "target" not in self.fields):
                check_target(sample, self.num_classes)
        except UNREADABLE as error:
            raise UnreadableSampleError(f"{self.ids[position]} cannot be read: {error}") from error
        if self.targets is not None:
            sample["target"] = int(self.targets[row])
        sample["index"] = position
        return sample

    def _log_skipped(self, row: int, error: UnreadableSampleError) -> None:
        position = int(self.positions[row])
        if not self._unreadable[position]:
            self._unreadable[position] = True
            log.warning("skipped (%d so far): %s", len(self.skipped), error)

    @property
    def is_readable(self) -> npt.NDArray[np.bool_]:
        """For each row, whether its sample can be read as far as is known, bool (N,)."""
        unreadable: npt.NDArray[np.bool_] = self._unreadable.numpy()
        return ~unreadable[self.positions]

    def mark_unreadable(self, positions: npt.NDArray[np.int64]) -> None:
        """Counts samples as skipped without trying to read them.

        Args:
            positions: Their positions, int64 (M,).
        """
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
        """Selects rows of the data set, in the order given.

        Args:
            rows: The rows to keep.
            targets: A target for each kept row; None keeps their own.
        """
        selection = copy.copy(self)
        selection.positions = self.positions[rows]
        if self.targets is not None:
            selection.targets = self.targets[rows] if targets is None else targets
        return selection

    @property
    def num_samples(self) -> int:
        """The number of samples."""
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


def as_fields(sample: Any) -> Sample:
    """Names the parts of a sample.

    Args:
        sample: A mapping of fields, a pair ``(image, target)``, or an image.
    """
    if isinstance(sample, Mapping):
        return dict(sample)
    if isinstance(sample, tuple | list) and len(sample) == 2:
        return {"image": sample[0], "target": sample[1]}
    return {"image": sample}


def declared_fields(source: Any) -> tuple[str, ...]:
    """The fields that a data set declares in its attribute `fields`.

    Args:
        source: Any data set; an attribute of that name that holds no names is something else.
    """
    declared = getattr(source, "fields", ())
    if not isinstance(declared, tuple | list | set | frozenset):
        return ()
    return tuple(sorted(declared)) if all(isinstance(name, str) for name in declared) else ()
