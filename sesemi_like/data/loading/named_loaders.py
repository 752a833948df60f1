"""From named loaders to the steps of an epoch: one batch of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader

from ..batches import Batch
from ..streams import StreamedSamples
from .loaders import length_of
from .samplers import RowBatches


class NamedLoaders:
    """Named loaders as one: each step gets one batch of each.

    An epoch is one pass over the longest loader; shorter ones start again, reshuffled. Streamed
    data sets without a known length never end an epoch. The state is the step within the epoch, so
    that a run resumed in the middle of an epoch continues with the next batches.

    Args:
        loaders: The loaders by name.
        epoch: Returns the number of the epoch that begins, so that a resumed run reads in the
            orders that the uninterrupted one would have had.
    """

    def __init__(
        self, loaders: Mapping[str, DataLoader[Batch]], epoch: Callable[[], int] = lambda: 0
    ) -> None:
        self.loaders = dict(loaders)
        self.epoch = epoch
        lengths = [n for n in map(length_of, self.loaders.values()) if n is not None]
        self.length = max(lengths, default=None)
        self.step = self._first_step = 0

    def __len__(self) -> int:
        if self.length is None:
            raise TypeError("streamed data sets alone have no length")
        return self.length

    def __iter__(self) -> Iterator[dict[str, Batch]]:
        self.step, self._first_step = self._first_step, 0
        streams = {name: self._endless(loader) for name, loader in self.loaders.items()}
        while self.length is None or self.step < self.length:
            batches = {name: next(stream) for name, stream in streams.items()}
            self.step += 1
            yield batches

    def state_dict(self) -> dict[str, int]:
        """The number of batches of this epoch that have been returned."""
        return {"step": 0 if self.step == self.length else self.step}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Starts the next epoch after the batches that a state counts."""
        self._first_step = state["step"]

    def _endless(self, loader: DataLoader[Batch]) -> Iterator[Batch]:
        """Repeats a loader endlessly, starting from the pass in which this epoch begins."""
        length = length_of(loader)
        number = skipped = 0
        if length is not None and self.length is not None:
            completed, skipped = divmod(self.step, length)
            number = self.epoch() * -(-self.length // length) + completed
        while True:
            _set_pass(loader, number, skipped)
            is_empty = skipped == 0  # skipped samples may have shortened a pass that is continued
            for batch in islice(loader, None if length is None else length - skipped):
                is_empty = False
                yield batch
            if is_empty:
                raise ValueError("a streamed data set has no sample for this process")
            number, skipped = number + 1, 0


def _set_pass(loader: DataLoader[Any], number: int, skipped: int) -> None:
    """Sets the next pass of a loader, without the batches of it that have been read before."""
    if isinstance(loader.dataset, StreamedSamples):
        loader.dataset.set_pass(number, skipped)
    elif isinstance(loader.batch_sampler, RowBatches):
        loader.batch_sampler.set_pass(number, skipped)
