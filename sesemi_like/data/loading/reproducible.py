"""Reading batches whose random transforms depend only on a sample's place in a pass."""

from __future__ import annotations

from torch.utils.data import Dataset

from ..batches import Batch, StackedSamples
from ..field_collation import takes_generator
from ..readers import Draws
from ..samples import Sample, Samples
from .collating import Collation, collate, draws_nothing
from .partial_fields import PartialFields
from .samplers import Rows
from .seeds import batch_generator, preserve_generators, seed_generators, seed_of, seed_torch


class SeededSamples(Dataset[Batch]):
    """Reads whole batches, the same ones in any process.

    Before each sample is read the generators of torch, NumPy and Python are seeded by the loader,
    the pass and the sample's place in it, unless reading is known to draw nothing. What a transform
    draws then depends neither on the number of workers and processes nor on whether the run was
    resumed. A collation draws for the whole batch of all processes.

    Args:
        samples: The data set.
        collation: Makes a batch of samples. It gets a `generator` if it has such a parameter, and
            may draw from the global generators otherwise.
        seed: The loader's seed.
        rank: The number of this process.
        world_size: The number of processes.
        partial: The fields that only some samples have; None where all have all.
    """

    def __init__(
        self,
        samples: Samples,
        collation: Collation,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        partial: PartialFields | None = None,
    ) -> None:
        self.samples, self.collation, self.seed = samples, collation, seed
        self.partial = partial or PartialFields()
        self.share = rank, world_size
        self.reading_draws = samples.draws is not Draws.NOTHING
        self.seed_reading = seed_torch if samples.draws is Draws.TORCH else seed_generators
        self.collation_draws = not draws_nothing(collation)
        self.takes_generator = self.collation_draws and takes_generator(collation)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def num_samples(self) -> int:
        """The number of samples."""
        return self.samples.num_samples

    def __getitems__(self, rows: Rows) -> Batch:
        """Reads the batch of some rows."""
        if not self.reading_draws and not self.collation_draws:
            return self.partial.complete(collate(self.collation, self.samples.__getitems__(rows)))
        with preserve_generators():
            return self.partial.complete(self._collate(self._read(rows), rows))

    def _read(self, rows: Rows) -> list[Sample] | StackedSamples:
        if not self.reading_draws:
            return self.samples.__getitems__(rows)
        samples = []
        for row, place in zip(rows, rows.places, strict=True):
            self.seed_reading(seed_of(self.seed, f"{rows.number}:{place}"))
            samples.append(self.samples[row])
        return samples

    def _collate(self, samples: list[Sample] | StackedSamples, rows: Rows) -> Batch:
        rank, world_size = self.share
        name = f"batch {rows.number}:{rows.places.start - rank}"
        if self.takes_generator:
            generator = batch_generator(self.seed, name, rank, world_size)
            return collate(self.collation, samples, generator=generator)
        if self.collation_draws:
            seed_generators(seed_of(self.seed, f"{name}:{rank}"))
        return collate(self.collation, samples)
